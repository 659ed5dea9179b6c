// Generated stubs over every transport of Connect, against a running server.
import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import { test } from "node:test";
import { Code, ConnectError, createClient, type Transport } from "@connectrpc/connect";
import * as node from "@connectrpc/connect-node";
import * as web from "@connectrpc/connect-web";
import { AgentService } from "./build/gen/aster/v1/agent_service_pb.js";
import { TurnState } from "./build/gen/aster/v1/agent_pb.js";
import { EventService, StartPosition } from "./build/gen/aster/v1/event_service_pb.js";
import { ErrorInfoSchema } from "./build/gen/google/rpc/error_details_pb.js";
import { GRPC, HTTP, LIMIT, QUICK, STUCK } from "./stage.js";

const seen: string[] = []; // method and content type of what the web transports sent
const watched: typeof fetch = (input, init) => {
  const headers = new Headers(init?.headers);
  seen.push(`${init?.method ?? "GET"} ${headers.get("content-type") ?? ""}`);
  return fetch(input, init);
};

const TRANSPORTS: Record<string, Transport> = {
  "web connect json": web.createConnectTransport({ baseUrl: HTTP, fetch: watched }),
  "web connect binary": web.createConnectTransport({ baseUrl: HTTP, useBinaryFormat: true, fetch: watched }),
  "web connect get": web.createConnectTransport({ baseUrl: HTTP, useHttpGet: true, fetch: watched }),
  "web connect get binary": web.createConnectTransport({
    baseUrl: HTTP, useHttpGet: true, useBinaryFormat: true, fetch: watched,
  }),
  "web grpc-web": web.createGrpcWebTransport({ baseUrl: HTTP, fetch: watched }),
  "node connect": node.createConnectTransport({ baseUrl: HTTP, httpVersion: "1.1" }),
  "node grpc-web": node.createGrpcWebTransport({ baseUrl: HTTP, httpVersion: "1.1" }),
  "node grpc": node.createGrpcTransport({ baseUrl: GRPC }),
};

// What each of the web transports must have sent for a read.
const SENT: Record<string, string> = {
  "web connect json": "POST application/json",
  "web connect binary": "POST application/proto",
  "web connect get": "GET ",
  "web connect get binary": "GET ",
  "web grpc-web": "POST application/grpc-web+proto",
};

function failure(code: Code, reason?: string) {
  return (error: unknown): boolean => {
    const found = ConnectError.from(error);
    assert.equal(Code[found.code], Code[code], found.message);
    if (reason !== undefined) {
      assert.deepEqual(found.findDetails(ErrorInfoSchema).map((info) => [info.domain, info.reason]), [["aster", reason]]);
    }
    return true;
  };
}

for (const [name, transport] of Object.entries(TRANSPORTS)) {
  const agents = createClient(AgentService, transport);
  const events = createClient(EventService, transport);

  test(`${name}: unary, with headers`, { timeout: LIMIT }, async () => {
    seen.length = 0;
    let asked: string | null = null;
    const found = await agents.getAgent(
      { agentId: QUICK },
      { headers: { "x-request-id": "r-1" }, onHeader: (headers) => (asked = headers.get("content-type")) },
    );
    assert.equal(found.agent?.id, QUICK);
    assert.ok(asked);
    if (SENT[name] !== undefined) assert.deepEqual(seen, [SENT[name]]);
  });

  test(`${name}: stream`, { timeout: LIMIT }, async () => {
    let text = "";
    let complete = false;
    for await (const response of agents.stream({ agentId: QUICK, message: "hello" })) {
      for (const { frame } of response.frames) {
        if (frame.case !== "event" || frame.value.payload.case !== "progress") continue;
        const { kind } = frame.value.payload.value;
        if (kind.case === "textChunk") text += kind.value.delta;
        if (kind.case === "complete") complete = true;
      }
    }
    assert.equal(text, "one two three");
    assert.ok(complete);
  });

  test(`${name}: error with details`, { timeout: LIMIT }, async () => {
    await assert.rejects(agents.getAgent({ agentId: "nobody" }), failure(Code.NotFound, "AGENT_NOT_FOUND"));
    await assert.rejects(agents.chat({ agentId: QUICK }), failure(Code.InvalidArgument, "FIELD_VIOLATION"));
  });

  test(`${name}: error of a stream`, { timeout: LIMIT }, async () => {
    const stream = events.subscribe({ agentId: "nobody" });
    await assert.rejects(stream[Symbol.asyncIterator]().next(), failure(Code.NotFound, "AGENT_NOT_FOUND"));
  });

  test(`${name}: deadline`, { timeout: LIMIT }, async () => {
    const chat = agents.chat({ agentId: STUCK, message: "wait" }, { timeoutMs: 500 });
    await assert.rejects(chat, failure(Code.DeadlineExceeded));
    assert.equal(await lastEnd(agents), TurnState.INTERRUPTED);
  });

  test(`${name}: abort of a call`, { timeout: LIMIT }, async () => {
    const { length: before } = (await agents.listTurns({ agentId: STUCK })).turns;
    const control = new AbortController();
    const chat = agents.chat({ agentId: STUCK, message: "wait" }, { signal: control.signal });
    chat.catch(() => undefined);
    while ((await agents.listTurns({ agentId: STUCK })).turns.length === before) await sleep(20);
    control.abort();
    await assert.rejects(chat, failure(Code.Canceled));
    // The server has seen it too: a turn whose caller leaves is interrupted.
    assert.equal(await lastEnd(agents), TurnState.INTERRUPTED);
  });

  test(`${name}: abort of a stream`, { timeout: LIMIT }, async () => {
    const control = new AbortController();
    const stream = events.subscribe(
      { agentId: QUICK, startFrom: { case: "position", value: StartPosition.EARLIEST } },
      { signal: control.signal },
    );
    await assert.rejects(async () => {
      for await (const _ of stream) control.abort();
    }, failure(Code.Canceled));
  });
}

// How the newest turn of the agent that never ends by itself has ended.
async function lastEnd(agents: ReturnType<typeof createClient<typeof AgentService>>): Promise<TurnState | undefined> {
  for (;;) {
    const [turn] = (await agents.listTurns({ agentId: STUCK, pageSize: 1 })).turns;
    if (turn?.state !== TurnState.QUEUED && turn?.state !== TurnState.RUNNING) return turn?.state;
    await sleep(20);
  }
}
