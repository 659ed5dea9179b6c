import { AsterError } from "./errors.js";
import type { Event, EventFrame, EventGap } from "./gen/aster/v1/event_pb.js";

/** One event of a subscription, or a gap between events: then `gap` is set and `event` is not. */
export class EventView {
  constructor(
    readonly frame: EventFrame,
    /** Subscribe from here: what comes after this event. */
    readonly cursor: string,
  ) {}

  get event(): Event | undefined {
    return this.frame.frame.case === "event" ? this.frame.frame.value : undefined;
  }

  get gap(): EventGap | undefined {
    return this.frame.frame.case === "gap" ? this.frame.frame.value : undefined;
  }

  /** ULID; of a request on the control channel the id to answer. */
  get id(): string {
    return this.event?.id ?? "";
  }

  /** "<channel>.<kind>"; "gap" for a gap. */
  get type(): string {
    return this.event?.eventType ?? "gap";
  }

  /** The kind's message, to switch on by `case`; undefined on a gap and for a kind newer than this client. */
  get payload(): Kind | undefined {
    const kind = this.event?.payload.value?.kind;
    return kind?.case === undefined ? undefined : (kind as Kind);
  }

  /** Text to append to the answer; empty for every other kind. */
  get textDelta(): string {
    return this.payload?.case === "textChunk" ? this.payload.value.delta : "";
  }

  /** Why a tool, a turn or a model call failed; undefined where nothing did. */
  get error(): AsterError | undefined {
    const kind = this.payload;
    return kind && "error" in kind.value ? AsterError.ofStatus(kind.value.error) : undefined;
  }
}

type KindOf<P> = P extends { value: { kind: infer K } } ? K : never;
/** Every kind of every channel. */
export type Kind = Exclude<KindOf<Event["payload"]>, { case: undefined }>;
