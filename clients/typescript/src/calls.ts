import type { DescMessage, DescMethodUnary, MessageInitShape, MessageShape } from "@bufbuild/protobuf";
import { MethodOptions_IdempotencyLevel } from "@bufbuild/protobuf/wkt";
import { Code, type Interceptor, type Transport } from "@connectrpc/connect";
import { AsterError } from "./errors.js";

export const DEFAULT_TIMEOUT = 30_000;
export const TRIES = 3;
const FIRST_PAUSE = 100;
const LONGEST_PAUSE = 5_000;

/** What any call may be told. */
export interface CallOptions {
  /** Cancels the call. */
  signal?: AbortSignal | undefined;
  /** Milliseconds for the call with its retries. */
  timeout?: number | undefined;
}

/** A fresh idempotency key: 128 random bits as hex. */
export function newRequestId(): string {
  const bits = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bits, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Puts the key into every call. */
export function withKey(key: string): Interceptor {
  return (next) => (request) => {
    if (key) {
      request.header.set("authorization", `Bearer ${key}`);
    }
    return next(request);
  };
}

/** Pauses with full jitter: a random part of a ceiling that doubles from 0.1 s to 5 s. */
export class Backoff {
  private ceiling = FIRST_PAUSE;

  /** Milliseconds to wait now, besides what the server asked for. */
  next(atLeast: number): number {
    const pause = atLeast + Math.random() * this.ceiling;
    this.ceiling = Math.min(LONGEST_PAUSE, this.ceiling * 2);
    return pause;
  }

  /** Begins again, after something has worked. */
  reset(): void {
    this.ceiling = FIRST_PAUSE;
  }
}

/** Waits; false if the signal came first. */
export function wait(milliseconds: number, signal?: AbortSignal): Promise<boolean> {
  return new Promise((resolve) => {
    if (signal?.aborted) {
      resolve(false);
      return;
    }
    const stop = (): void => {
      clearTimeout(timer);
      resolve(false);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stop);
      resolve(true);
    }, milliseconds);
    signal?.addEventListener("abort", stop, { once: true });
  });
}

/** The transport with what every unary call gets: one deadline over its tries, retries, AsterError. */
export class Calls {
  constructor(
    readonly transport: Transport,
    readonly timeout: number,
  ) {}

  /**
   * One unary call. A read, or a request with a requestId, is tried up to three times while the
   * server is UNAVAILABLE. Without `timeout` the client's own; Infinity: none.
   */
  async call<I extends DescMessage, O extends DescMessage>(
    method: DescMethodUnary<I, O>,
    request: MessageInitShape<I>,
    { signal, timeout = this.timeout }: CallOptions = {},
  ): Promise<MessageShape<O>> {
    const end = Date.now() + timeout;
    const between = new Backoff();
    let tries = isRepeatable(method, request) ? TRIES : 1;
    for (;;) {
      const left = end === Infinity ? undefined : Math.max(1, end - Date.now());
      try {
        return (await this.transport.unary(method, signal, left, undefined, request)).message;
      } catch (failure) {
        const error = AsterError.from(failure, signal?.aborted);
        const pause = between.next(error.retryAfter);
        tries -= 1;
        if (!tries || signal?.aborted || !mayPass(error) || Date.now() + pause >= end || !(await wait(pause, signal))) {
          throw error;
        }
      }
    }
  }
}

function isRepeatable<I extends DescMessage, O extends DescMessage>(
  method: DescMethodUnary<I, O>,
  request: MessageInitShape<I>,
): boolean {
  return method.idempotency === MethodOptions_IdempotencyLevel.NO_SIDE_EFFECTS || ("requestId" in request && !!request.requestId);
}

// A failed turn is UNAVAILABLE too when its provider was: the same requestId would only be told
// the same again.
function mayPass(error: AsterError): boolean {
  return error.code === Code.Unavailable && !error.metadata["turn_id"];
}
