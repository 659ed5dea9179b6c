/** The client for Node.js: gRPC over HTTP/2. */

import { createGrpcTransport, Http2SessionManager } from "@connectrpc/connect-node";
import { withKey } from "./calls.js";
import { Client } from "./client.js";

export * from "./shared.js";

const MAX_RECEIVE_BYTES = 16 * 1024 * 1024;

/** How to connect. */
export interface ClientOptions {
  /** "host:port"; default: ASTER_ADDRESS, else 127.0.0.1:50051. */
  address?: string;
  /** Empty: none; default: ASTER_API_KEY. */
  apiKey?: string;
  /** On when `ca` is given. */
  tls?: boolean;
  /** PEM text of the only authorities to trust; default: those of Node.js. */
  ca?: string;
  /** Milliseconds of one short call with its retries; default 30,000. Chats have no limit. */
  timeout?: number;
}

/**
 * Talks to one server over one HTTP/2 connection; the first call connects. `close` it at the
 * end: an open connection keeps the process alive.
 */
export class AsterClient extends Client {
  constructor({ address, apiKey, ca, tls = ca !== undefined, timeout }: ClientOptions = {}) {
    const { ASTER_ADDRESS, ASTER_API_KEY } = process.env;
    const baseUrl = `${tls ? "https" : "http"}://${address ?? (ASTER_ADDRESS || "127.0.0.1:50051")}`;
    const keepalive = { pingIntervalMs: 30_000, pingTimeoutMs: 10_000, pingIdleConnection: true };
    const sessionManager = new Http2SessionManager(baseUrl, keepalive, ca === undefined ? {} : { ca });
    const interceptors = [withKey(apiKey ?? ASTER_API_KEY ?? "")];
    const transport = createGrpcTransport({ baseUrl, sessionManager, interceptors, readMaxBytes: MAX_RECEIVE_BYTES });
    super(transport, () => sessionManager.abort(), timeout);
  }
}
