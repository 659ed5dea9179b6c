import { anyUnpack, type Any } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import type { DescMessage, MessageShape } from "@bufbuild/protobuf";
import { BadRequestSchema, ErrorInfoSchema, RetryInfoSchema } from "./gen/google/rpc/error_details_pb.js";
import type { Status } from "./gen/google/rpc/status_pb.js";

/** One bad field of a request: its path as in the proto, and what is wrong with it. */
export interface Violation {
  field: string;
  description: string;
}

interface Facts {
  code: Code;
  message: string;
  find<D extends DescMessage>(schema: D): MessageShape<D> | undefined;
  cause?: unknown;
}

/**
 * A call, a turn, a tool or a step failed. Branch on `code` and `reason`, never on the text;
 * `error_reason.proto` lists the reasons.
 */
export class AsterError extends Error {
  override readonly name = "AsterError";
  readonly code: Code;
  /** Of ErrorInfo; empty where no server said one: a broken connection. */
  readonly reason: string;
  /** The facts of ErrorInfo. */
  readonly metadata: Readonly<Record<string, string>>;
  readonly violations: readonly Violation[];
  /** Milliseconds the server asks to wait; 0: nothing. */
  readonly retryAfter: number;

  private constructor(facts: Facts) {
    super(facts.message, { cause: facts.cause });
    const info = facts.find(ErrorInfoSchema);
    const delay = facts.find(RetryInfoSchema)?.retryDelay;
    this.code = facts.code;
    this.reason = info?.reason ?? "";
    this.metadata = info?.metadata ?? {};
    this.violations = facts.find(BadRequestSchema)?.fieldViolations ?? [];
    this.retryAfter = delay ? Number(delay.seconds) * 1000 + delay.nanos / 1e6 : 0;
  }

  /** The code as gRPC writes it: "NOT_FOUND". */
  get codeName(): string {
    return Code[this.code].replace(/(?<=.)[A-Z]/g, "_$&").toUpperCase().replace("CANCELED", "CANCELLED");
  }

  /** Any failure of a call as AsterError. `cancelled`: the caller wanted it so. */
  static from(failure: unknown, cancelled = false): AsterError {
    if (failure instanceof AsterError) {
      return failure;
    }
    const error = ConnectError.from(failure);
    return new AsterError({
      code: !cancelled && isLost(error) ? Code.Unavailable : error.code,
      message: error.rawMessage,
      find: (schema) => error.findDetails(schema)[0],
      cause: failure,
    });
  }

  /** The error that a Status describes: of a turn, a tool or a step. Undefined for none and for OK. */
  static ofStatus(status: Status | undefined): AsterError | undefined {
    if (!status?.code) {
      return undefined;
    }
    return new AsterError({
      code: status.code,
      message: status.message,
      find: (schema) => firstOf(status.details, schema),
    });
  }
}

function firstOf<D extends DescMessage>(details: Any[], schema: D): MessageShape<D> | undefined {
  for (const detail of details) {
    const found = anyUnpack(detail, schema);
    if (found) {
      return found;
    }
  }
  return undefined;
}

// A connection that breaks is told in many codes, by HTTP/2 and by fetch; what the server itself
// says always has details.
const BROKEN = new Set([Code.Aborted, Code.Canceled, Code.DataLoss, Code.Internal, Code.InvalidArgument, Code.Unknown]);

function isLost(error: ConnectError): boolean {
  return error.details.length === 0 && BROKEN.has(error.code);
}
