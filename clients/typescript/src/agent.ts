import type { MessageInitShape } from "@bufbuild/protobuf";
import { createClient } from "@connectrpc/connect";
import { newRequestId, type CallOptions, type Calls } from "./calls.js";
import type { Agent as AgentInfo, AgentStatus, Turn } from "./gen/aster/v1/agent_pb.js";
import {
  AgentService,
  type ChatRequestSchema,
  type ChatResponse,
  type SendRequestSchema,
  type SendResponse,
  type StreamRequestSchema,
} from "./gen/aster/v1/agent_service_pb.js";
import {
  ControlService,
  Decision,
  type ApproveToolCallRequestSchema,
} from "./gen/aster/v1/control_service_pb.js";
import { EventService, StartPosition, type SubscribeRequestSchema } from "./gen/aster/v1/event_service_pb.js";
import { Subscription } from "./subscription.js";
import { channelNumbers, type ChannelName } from "./words.js";

type Fields<S, Without extends string> = Omit<S, "$typeName" | Without>;
type ChatFields = Fields<MessageInitShape<typeof ChatRequestSchema>, "agentId" | "message">;
type SendFields = Fields<MessageInitShape<typeof SendRequestSchema>, "agentId" | "message">;
type StreamFields = Fields<MessageInitShape<typeof StreamRequestSchema>, "agentId" | "message" | "channels">;
type SubscribeFields = Fields<MessageInitShape<typeof SubscribeRequestSchema>, "channels" | "startFrom">;
type ApproveFields = Fields<MessageInitShape<typeof ApproveToolCallRequestSchema>, "agentId" | "pendingId" | "decision">;

/** What a subscription may be told: fields of SubscribeRequest, and where to begin (default: now). */
export type SubscribeOptions = SubscribeFields & {
  channels?: readonly ChannelName[];
  from?: "now" | "earliest" | { cursor: string } | { afterSequence: bigint } | { startTime: Date };
  signal?: AbortSignal;
};

/**
 * One agent of the server, by id. Making a handle calls nobody. Several calls at once are safe:
 * an agent runs one turn at a time and queues the others. Every call rejects with AsterError.
 */
export class Agent {
  constructor(
    private readonly calls: Calls,
    readonly id: string,
    /** As the server described it when it was created. */
    readonly info?: AgentInfo,
  ) {}

  /**
   * Runs a turn and gives its end. Waits as long as the turn takes, people included, unless
   * `signal` or `timeout` (milliseconds) ends it: that interrupts the turn, if disconnectPolicy
   * is not CONTINUE. A failed turn rejects, with turn_id in the error's metadata.
   */
  chat(text: string, { signal, timeout = Infinity, ...fields }: ChatFields & CallOptions = {}): Promise<ChatResponse> {
    return this.calls.call(AgentService.method.chat, { ...this.message(text), ...fields }, { signal, timeout });
  }

  /** Stores the message; the turn goes on by itself. Subscribing from `cursor` misses none of its events. */
  send(text: string, { signal, timeout, ...fields }: SendFields & CallOptions = {}): Promise<SendResponse> {
    return this.calls.call(AgentService.method.send, { ...this.message(text), ...fields }, { signal, timeout });
  }

  /**
   * Runs a turn and iterates over its events up to progress.complete, which tells of a failed turn
   * too. Where the server ends the stream early it goes on by Subscribe. Leaving the loop, or
   * `signal`, interrupts the turn, if disconnectPolicy is not CONTINUE.
   */
  stream(
    text: string,
    { channels, signal, ...fields }: StreamFields & { channels?: readonly ChannelName[]; signal?: AbortSignal } = {},
  ): Subscription {
    const wanted = channelNumbers(channels);
    const request = { ...this.message(text), ...fields, channels: wanted };
    const { transport } = this.calls;
    return new Subscription(
      {
        untilTurnComplete: true,
        oneTurn: true,
        open: ({ turnId, cursor }, signal) =>
          turnId && cursor
            ? createClient(EventService, transport).subscribe(
                {
                  agentId: this.id,
                  turnId,
                  channels: wanted,
                  untilTurnComplete: true,
                  startFrom: { case: "cursor", value: cursor },
                },
                { signal },
              )
            : // Nothing of the turn was seen: the same requestId streams it from its beginning.
              createClient(AgentService, transport).stream(request, { signal }),
      },
      { cursor: "", turnId: "" },
      signal,
    );
  }

  /** Follows this agent's events. */
  subscribe(options: Omit<SubscribeOptions, "agentId" | "agentIds"> = {}): Subscription {
    return subscribe(this.calls, { ...options, agentId: this.id });
  }

  /**
   * Allows or denies one tool call. REQUEST_ALREADY_RESOLVED when somebody decided otherwise; the
   * same decision twice is fine.
   */
  async approve(pendingId: string, allow: boolean, fields: ApproveFields = {}): Promise<void> {
    const request = { ...fields, agentId: this.id, pendingId, decision: decision(allow) };
    await this.calls.call(ControlService.method.approveToolCall, request);
  }

  /** Answers a question: a text, option indexes from 0, or null for no answer. */
  async respond(pendingId: string, answer: string | readonly number[] | null): Promise<void> {
    const given =
      answer === null ? { dismiss: true } : typeof answer === "string" ? { text: answer } : { optionIndexes: [...answer] };
    await this.calls.call(ControlService.method.respondToInputRequest, { agentId: this.id, pendingId, ...given });
  }

  /** Lets a turn go on past its iteration limit, or ends it. */
  async respondToIterationLimit(pendingId: string, allow: boolean, additionalSteps = 0): Promise<void> {
    const request = { agentId: this.id, pendingId, decision: decision(allow), additionalSteps };
    await this.calls.call(ControlService.method.respondToIterationLimit, request);
  }

  /** State and counters; does not wake the agent. */
  async status(options?: CallOptions): Promise<AgentStatus> {
    const { status } = await this.calls.call(AgentService.method.getStatus, { agentId: this.id }, options);
    return present(status);
  }

  /** Stops the named turn, or the current one, and gives it when it has ended. */
  async interrupt(turnId = "", options?: CallOptions): Promise<Turn> {
    const { turn } = await this.calls.call(AgentService.method.interrupt, { agentId: this.id, turnId }, options);
    return present(turn);
  }

  /** Closes the agent for good; its history stays. */
  async close(options?: CallOptions): Promise<void> {
    await this.calls.call(AgentService.method.closeAgent, { agentId: this.id }, options);
  }

  private message(text: string): { agentId: string; message: string; requestId: string } {
    return { agentId: this.id, message: text, requestId: newRequestId() };
  }
}

export function decision(allow: boolean): Decision {
  return allow ? Decision.ALLOW : Decision.DENY;
}

/** A field that the server always sets. */
export function present<T>(value: T | undefined): T {
  if (value === undefined) {
    throw new TypeError("the server left out a field that it always sets");
  }
  return value;
}

export function subscribe(calls: Calls, { channels, from = "now", signal, ...fields }: SubscribeOptions): Subscription {
  const request = { ...fields, channels: channelNumbers(channels) };
  return new Subscription(
    {
      untilTurnComplete: fields.untilTurnComplete ?? false,
      // Only where one agent is named does `started` carry a sequence to go on from.
      fromNow: !!fields.agentId && !fields.agentIds?.length && from === "now",
      open: ({ cursor, sequence }, signal) => {
        const resumed = cursor ? { cursor } : sequence !== undefined ? { afterSequence: sequence } : from;
        return createClient(EventService, calls.transport).subscribe(
          { ...request, startFrom: startFrom(resumed) },
          { signal },
        );
      },
    },
    { cursor: typeof from === "object" && "cursor" in from ? from.cursor : "", turnId: fields.turnId ?? "" },
    signal,
  );
}

type StartFrom = NonNullable<MessageInitShape<typeof SubscribeRequestSchema>["startFrom"]>;

function startFrom(from: NonNullable<SubscribeOptions["from"]>): StartFrom {
  if (from === "now" || from === "earliest") {
    return { case: "position", value: from === "now" ? StartPosition.NOW : StartPosition.EARLIEST };
  }
  if ("cursor" in from) {
    return { case: "cursor", value: from.cursor };
  }
  if ("afterSequence" in from) {
    return { case: "afterSequence", value: from.afterSequence };
  }
  const milliseconds = from.startTime.getTime();
  const seconds = Math.floor(milliseconds / 1000);
  return { case: "startTime", value: { seconds: BigInt(seconds), nanos: (milliseconds - seconds * 1000) * 1e6 } };
}
