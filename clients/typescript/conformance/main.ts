// Plays the story of clients/conformance with the TypeScript client.
import { readFile } from "node:fs/promises";
import { createInterface } from "node:readline";
import { createClient } from "@connectrpc/connect";
import { AsterClient, AsterError, Code, word, type Agent, type EventView, type Subscription } from "@asteros/client";
import { AgentActivitySchema, AgentStateSchema, StopReasonSchema } from "@asteros/client/v1/agent";
import { PermissionPolicy } from "@asteros/client/v1/common";
import { StarsService } from "@asteros/client/v1/stars_service";
import { say, sayError, sayEvent } from "./lines.js";

interface Step {
  name: string;
  do: string;
  needs?: string;
  agent: string;
  model: string;
  text: string;
  tools?: string[];
  ask?: string[];
  show?: string[];
  decide?: string;
  answer?: number[];
  save?: string;
  cursor?: string;
  from?: string;
  channels?: ("progress" | "control" | "monitor")[];
  event_types?: string[];
  count: number;
  after: number;
  wish: string;
  seconds: number;
  client?: string;
  star: string;
  leader: string;
  member: string;
}

const ca = process.env["ASTER_CA"] ? await readFile(process.env["ASTER_CA"], "utf8") : undefined;
const connect = (options: { apiKey?: string } = {}): AsterClient => new AsterClient({ ...options, ...(ca ? { ca } : {}) });
const client = connect();
const cursors = new Map<string, string>();
const answers = createInterface({ input: process.stdin })[Symbol.asyncIterator]();

async function wish(what: string): Promise<void> {
  say(`! ${what}`);
  await answers.next();
}

function start({ cursor }: Step): "earliest" | { cursor: string } {
  return cursor === undefined ? "earliest" : { cursor: cursors.get(cursor) ?? "" };
}

async function until(events: Subscription, type: string): Promise<EventView> {
  for (;;) {
    const { done, value } = await events.next();
    if (done) {
      throw new Error(`the stream ended without ${type}`);
    }
    if (value.type === type) {
      return value;
    }
  }
}

async function decide(step: Step, pendingId: string): Promise<void> {
  const second = connect();
  try {
    for await (const pending of second.pendingApprovals(step.agent)) {
      if (pending.id === pendingId) {
        await second.approve(pending, step.decide === "allow");
      }
    }
  } finally {
    second.close();
  }
}

const verbs: Record<string, (agent: Agent, step: Step) => Promise<void>> = {
  async create_agent(_, step) {
    const toolPermissions = Object.fromEntries((step.ask ?? []).map((tool) => [tool, PermissionPolicy.ASK]));
    const modelConfig = { provider: "scripted", model: step.model };
    const config = { templateId: "chat", modelConfig, tools: step.tools ?? [], toolPermissions };
    const agent = await client.createAgent(config, { agentId: step.agent });
    say(`agent ${agent.id}`);
  },

  async chat(agent, step) {
    const reply = await agent.chat(step.text);
    say(`chat ${word(StopReasonSchema, reply.turn?.stopReason ?? 0)} ${reply.text}`);
  },

  async stream(agent, step) {
    const chunks = new Map<number, string>();
    let whole = true;
    for await (const event of agent.stream(step.text, { channels: ["progress", "control"] })) {
      sayEvent(event);
      const number = event.event?.step ?? 0;
      const text = (chunks.get(number) ?? "") + event.textDelta;
      chunks.set(number, text);
      switch (event.payload?.case) {
        case "textDone":
          whole &&= event.payload.value.text === text;
          break;
        case "toolApprovalRequest":
          await decide(step, event.id);
          break;
        case "userInputRequest":
          await agent.respond(event.id, step.answer ?? null);
      }
    }
    say(whole ? "text whole" : "text broken");
  },

  async send(agent, step) {
    const { cursor } = await agent.send(step.text);
    cursors.set(step.save ?? "", cursor);
    say("sent");
  },

  async subscribe(agent, step) {
    const { channels = [], event_types: eventTypes = [] } = step;
    await using events = agent.subscribe({ channels, eventTypes, from: start(step) });
    for (let left = step.count; left > 0; left -= 1) {
      const { done, value } = await events.next();
      if (done) {
        throw new Error("the stream ended");
      }
      sayEvent(value);
    }
    cursors.set(step.save ?? "", events.cursor);
  },

  async resume(agent, step) {
    let dense = true;
    let last = 0n;
    let count = 0;
    const events = agent.subscribe({ from: start(step) });
    for await (const event of events) {
      const sequence = event.event?.sequence ?? 0n;
      dense &&= last === 0n || sequence === last + 1n;
      last = sequence;
      count += 1;
      if (count === step.after) {
        await wish(step.wish);
      }
      if (event.type === "progress.complete") {
        say(dense ? "dense" : "gap");
        say(events.statistics.reconnects > 0 ? "reconnected" : "connected");
        sayEvent(event);
        break;
      }
    }
  },

  async batches(agent) {
    let dense = true;
    let last = 0n;
    let largest = 0;
    let done = false;
    for await (const frames of agent.subscribe({ from: "earliest" }).batches()) {
      largest = Math.max(largest, frames.length);
      for (const { frame } of frames) {
        const event = frame.case === "event" ? frame.value : undefined;
        dense &&= event?.sequence === last + 1n;
        last = event?.sequence ?? 0n;
        done ||= event?.eventType === "progress.complete";
      }
      if (done) {
        break;
      }
    }
    say(dense ? "dense" : "gap");
    say(largest > 1 ? "batched" : "single");
  },

  async deadline(agent, step) {
    await using events = await agent.subscribe({ eventTypes: ["progress.complete"] }).opened();
    const error = await agent.chat(step.text, { timeout: step.seconds * 1000 }).then(() => undefined, AsterError.from);
    if (error?.code !== Code.DeadlineExceeded) {
      throw error ?? new Error("no deadline");
    }
    sayError(error);
    sayEvent(await until(events, "progress.complete"));
  },

  async cancel(agent, step) {
    await using events = await agent.subscribe({ channels: ["progress"] }).opened();
    const cancelling = new AbortController();
    const chat = agent.chat(step.text, { signal: cancelling.signal });
    const ended = chat.then(() => undefined, (error: unknown) => error);
    await until(events, "progress.text_chunk");
    cancelling.abort();
    const error = await ended;
    if (!(error instanceof AsterError) || error.code !== Code.Canceled) {
      throw error ?? new Error("not cancelled");
    }
    say("cancelled");
    sayEvent(await until(events, "progress.complete"));
  },

  async status(agent, step) {
    const asked = step.client === "anonymous" ? connect({ apiKey: "" }) : undefined;
    try {
      const status = await (asked?.agent(step.agent) ?? agent).status();
      say(`status ${word(AgentStateSchema, status.state)} ${word(AgentActivitySchema, status.activity)}`);
    } finally {
      asked?.close();
    }
  },

  async star(_, step) {
    const stars = createClient(StarsService, client.transport);
    const members = [
      { agentId: step.leader, role: "leader" },
      { agentId: step.member, role: "worker" },
    ];
    try {
      await stars.createStar({ starId: step.star, members });
      say(`star ${(await stars.runStar({ starId: step.star, message: step.text })).text}`);
    } catch (failure) {
      throw AsterError.from(failure);
    }
  },

  async close(agent) {
    await agent.close();
    say("closed");
  },
};

const scenario = JSON.parse(await readFile(process.argv[2] ?? "", "utf8")) as { steps: Step[] };
const without = (process.env["ASTER_WITHOUT"] ?? "").split(",");
for (const step of scenario.steps) {
  if (step.needs !== undefined && without.includes(step.needs)) {
    continue;
  }
  say(`# ${step.name}`);
  try {
    await verbs[step.do]?.(client.agent(step.agent), step);
  } catch (error) {
    if (!(error instanceof AsterError)) {
      throw error;
    }
    sayError(error, step.show);
  }
}
client.close();
process.stdin.destroy();
