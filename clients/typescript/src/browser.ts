/** The client for browsers: Connect over fetch, on the server's HTTP port. */

import { createConnectTransport } from "@connectrpc/connect-web";
import { withKey } from "./calls.js";
import { Client } from "./client.js";

export * from "./shared.js";

/** How to connect. */
export interface ClientOptions {
  /** Default: where the page came from. */
  baseUrl?: string;
  /** Empty: none; a page of the server itself has its cookie. */
  apiKey?: string;
  /** Milliseconds of one short call with its retries; default 30,000. Chats have no limit. */
  timeout?: number;
}

/** Talks to one server by fetch. */
export class AsterClient extends Client {
  constructor({ baseUrl = globalThis.location.origin, apiKey = "", timeout }: ClientOptions = {}) {
    const ended = new AbortController();
    const transport = createConnectTransport({
      baseUrl,
      useBinaryFormat: true,
      interceptors: [withKey(apiKey)],
      fetch: (input, init) => {
        const signals = [ended.signal, ...(init?.signal ? [init.signal] : [])];
        return fetch(input, { ...init, signal: AbortSignal.any(signals) });
      },
    });
    super(transport, () => ended.abort(), timeout);
  }
}
