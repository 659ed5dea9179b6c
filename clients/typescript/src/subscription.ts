import { Code } from "@connectrpc/connect";
import { Backoff, TRIES, wait } from "./calls.js";
import { AsterError } from "./errors.js";
import { EventView } from "./events.js";
import type { Event, EventFrame, SubscriptionStarted } from "./gen/aster/v1/event_pb.js";

/** How far a stream has come, and so where its next opening begins. */
export interface Position {
  cursor: string;
  /** The one turn it follows; empty: not known, or any. */
  turnId: string;
  /** Where it began, if that was now, on one agent. */
  sequence?: bigint;
}

/** Where the frames come from, and what is known of them beforehand. */
export interface Source {
  open(position: Position, signal: AbortSignal): AsyncIterable<{ frames: EventFrame[] }>;
  untilTurnComplete?: boolean;
  /** All events are of one turn; its id comes with the first. */
  oneTurn?: boolean;
  /** One agent, from now: `started` says which sequence that was. */
  fromNow?: boolean;
}

/** Counters of one subscription since it was made. */
export interface Statistics {
  received: number;
  /** Events dropped because they had come before. */
  duplicates: number;
  /** Times the stream was opened again. */
  reconnects: number;
  gaps: number;
  /** Events those gaps named. */
  missed: number;
}

/**
 * Events in order, as an async iterator; one reader at a time. It survives its connection: after
 * UNAVAILABLE and SUBSCRIBER_TOO_SLOW it opens again from its cursor and drops what had come
 * before. Every other failure is thrown, as AsterError. What the server left out for a slow
 * reader arrives as a gap. Leaving a `for await` loop, or `close`, ends the call.
 */
export class Subscription implements AsyncIterableIterator<EventView> {
  readonly statistics: Statistics = { received: 0, duplicates: 0, reconnects: 0, gaps: 0, missed: 0 };
  private readonly abort = new AbortController();
  private messages: AsyncIterator<{ frames: EventFrame[] }> | undefined;
  private ready: EventFrame[] = [];
  private index = 0; // of the next frame in ready
  private seen: string; // cursor of the newest event handed out
  private readonly last = new Map<string, bigint>();
  private readonly replayed = new Map<string, bigint>(); // logs that may still repeat themselves
  private readonly between = new Backoff();
  private failures = 0;
  private started: SubscriptionStarted | undefined;
  private completed = false;
  private ended = false;

  constructor(
    private readonly source: Source,
    private readonly position: Position,
    signal?: AbortSignal,
  ) {
    this.seen = position.cursor;
    if (signal?.aborted) {
      this.abort.abort();
    }
    // Forgotten with the subscription: the caller's signal may live long.
    signal?.addEventListener("abort", () => this.abort.abort(), { signal: this.abort.signal });
  }

  /** Waits until the server has the subscription in place: no later event is missed. */
  async opened(): Promise<this> {
    while (!this.started && !this.ended) {
      await this.fetch();
    }
    return this;
  }

  async next(): Promise<IteratorResult<EventView, undefined>> {
    while (this.index >= this.ready.length) {
      if (this.ended) {
        return { done: true, value: undefined };
      }
      await this.fetch();
    }
    const frame = this.ready[this.index++] as EventFrame;
    this.seen = frame.cursor || this.seen;
    return { done: false, value: new EventView(frame, this.seen) };
  }

  async return(): Promise<IteratorResult<EventView, undefined>> {
    this.close();
    return { done: true, value: undefined };
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close();
  }

  /** The same events and gaps as raw frames, as many at once as have come. */
  async *batches(): AsyncGenerator<EventFrame[], void, undefined> {
    try {
      for (;;) {
        const batch = this.ready.slice(this.index);
        this.index = this.ready.length;
        if (batch.length > 0) {
          this.seen = this.position.cursor;
          yield batch;
        } else if (this.ended) {
          return;
        } else {
          await this.fetch();
        }
      }
    } finally {
      this.close();
    }
  }

  /** Subscribing from here goes on after the last event that was handed out. */
  get cursor(): string {
    return this.index < this.ready.length ? this.seen : this.position.cursor;
  }

  /** Ends the call; twice is fine. */
  close(): void {
    this.ended = true;
    this.abort.abort();
  }

  /** One message, or one recovery: afterwards there may be frames, or it has ended. */
  private async fetch(): Promise<void> {
    try {
      this.messages ??= this.source.open(this.position, this.abort.signal)[Symbol.asyncIterator]();
      const message = await this.messages.next();
      if (message.done) {
        this.close();
      } else {
        this.accept(message.value.frames);
      }
    } catch (failure) {
      await this.recover(AsterError.from(failure));
    }
  }

  private async recover(error: AsterError): Promise<void> {
    this.messages = undefined;
    if (this.completed || this.abort.signal.aborted) {
      this.close(); // all has come and only the OK was lost, or nobody wants more
      return;
    }
    this.failures += 1;
    if ((!this.started && this.failures >= TRIES) || !isResumable(error)) {
      this.close();
      throw error;
    }
    if (!this.position.cursor && this.position.sequence === undefined) {
      this.position.cursor = error.metadata["cursor"] ?? "";
    }
    this.last.forEach((sequence, log) => this.replayed.set(log, sequence));
    this.statistics.reconnects += 1;
    await wait(this.between.next(error.retryAfter), this.abort.signal);
  }

  /** Notes the position and keeps what is new. */
  private accept(frames: EventFrame[]): void {
    this.ready = [];
    this.index = 0;
    for (const frame of frames) {
      if (this.isNew(frame)) {
        this.ready.push(frame);
      }
      this.position.cursor = frame.cursor || this.position.cursor;
    }
    if (this.ready.length > 0) {
      this.between.reset();
    }
  }

  private isNew({ frame }: EventFrame): boolean {
    switch (frame.case) {
      case "event":
        if (this.isRepeated(frame.value)) {
          return false;
        }
        this.watchTurn(frame.value);
        this.statistics.received += 1;
        return true;
      case "gap":
        this.statistics.gaps += 1;
        this.statistics.missed += Number(frame.value.droppedCount);
        return true;
      case "started":
        this.begin(frame.value);
        return false;
      default: // a heartbeat
        this.between.reset();
        return false;
    }
  }

  // Within one stream the server's order holds; only a resume repeats. So an agent deleted and
  // made anew, from sequence 1, is not taken for a repetition.
  private isRepeated(event: Event): boolean {
    const log = event.agentId || event.workflowRunId;
    if (event.sequence <= (this.replayed.get(log) ?? 0n)) {
      this.statistics.duplicates += 1;
      return true;
    }
    this.replayed.delete(log);
    this.last.set(log, event.sequence);
    return false;
  }

  private begin(started: SubscriptionStarted): void {
    if (this.started && this.started.logEpoch !== started.logEpoch) {
      // Another log, whose sequences begin again: nothing in it is a repetition.
      this.last.clear();
      this.replayed.clear();
    }
    if (this.source.fromNow && this.position.sequence === undefined) {
      this.position.sequence = started.latestSequence;
    }
    this.started = started;
  }

  private watchTurn(event: Event): void {
    if (!this.source.untilTurnComplete) {
      return;
    }
    if (this.source.oneTurn) {
      this.position.turnId ||= event.turnId;
    }
    if (event.eventType === "progress.complete") {
      this.completed ||= !this.position.turnId || this.position.turnId === event.turnId;
    }
  }
}

function isResumable(error: AsterError): boolean {
  return (
    error.code === Code.Unavailable ||
    (error.code === Code.ResourceExhausted && error.reason === "SUBSCRIBER_TOO_SLOW")
  );
}
