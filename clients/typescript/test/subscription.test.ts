// The subscription against a server that says exactly what each test wants.
import assert from "node:assert/strict";
import { test } from "node:test";
import { create } from "@bufbuild/protobuf";
import { Code, ConnectError, createRouterTransport, type ServiceImpl } from "@connectrpc/connect";
import { AsterError, Client, type EventView } from "@asteros/client";
import { EventFrameSchema, type EventFrame } from "@asteros/client/v1/event";
import { AgentService } from "@asteros/client/v1/agent_service";
import { EventService, type SubscribeRequest } from "@asteros/client/v1/event_service";
import { ErrorInfoSchema } from "@asteros/client/rpc/error_details";

interface Opening {
  messages: EventFrame[][];
  end?: ConnectError;
}

const GONE = new ConnectError("gone", Code.Unavailable);

function refusal(code: Code, reason: string, metadata: Record<string, string> = {}): ConnectError {
  return new ConnectError("no", code, undefined, [{ desc: ErrorInfoSchema, value: { reason, metadata } }]);
}

const started = (logEpoch: string, latest = 0): EventFrame =>
  create(EventFrameSchema, { frame: { case: "started", value: { logEpoch, latestSequence: BigInt(latest) } } });
const event = (sequence: number, cursor: string, eventType = "progress.text_chunk"): EventFrame =>
  create(EventFrameSchema, {
    cursor,
    frame: { case: "event", value: { agentId: "a", turnId: "t", sequence: BigInt(sequence), eventType } },
  });
const heartbeat = (cursor: string): EventFrame =>
  create(EventFrameSchema, { cursor, frame: { case: "heartbeat", value: {} } });

function serve(...openings: Opening[]): { client: Client; requests: SubscribeRequest[] } {
  const requests: SubscribeRequest[] = [];
  async function* play(): AsyncGenerator<{ frames: EventFrame[] }> {
    const opening = openings.shift();
    for (const frames of opening?.messages ?? []) {
      yield { frames };
    }
    if (!opening || opening.end) {
      throw opening?.end ?? GONE;
    }
  }
  const events: Partial<ServiceImpl<typeof EventService>> = {
    subscribe(request) {
      requests.push(request);
      return play();
    },
  };
  const transport = createRouterTransport(({ service }) => {
    service(EventService, events);
    service(AgentService, { stream: play });
  });
  return { client: new Client(transport, () => {}), requests };
}

async function sequences(events: AsyncIterable<EventView>): Promise<number[]> {
  const seen: number[] = [];
  for await (const { event } of events) {
    seen.push(Number(event?.sequence));
  }
  return seen;
}

test("resumes from the newest cursor, without repetition", async () => {
  const { client, requests } = serve(
    { messages: [[started("e")], [event(1, "c1"), event(2, "c2")], [heartbeat("c9")]], end: GONE },
    { messages: [[started("e", 2)], [event(2, "c2"), event(3, "c3")]] },
  );
  const events = client.agent("a").subscribe();
  assert.deepEqual(await sequences(events), [1, 2, 3]);
  assert.deepEqual(requests[1]?.startFrom, { case: "cursor", value: "c9" });
  assert.deepEqual(events.statistics, { received: 3, duplicates: 1, reconnects: 1, gaps: 0, missed: 0 });
});

test("another log begins again", async () => {
  const { client } = serve(
    { messages: [[started("old")], [event(1, "c1"), event(2, "c2")]], end: GONE },
    { messages: [[started("new")], [event(1, "n1")]] },
  );
  assert.deepEqual(await sequences(client.agent("a").subscribe()), [1, 2, 1]);
});

test("before any cursor it goes on from the sequence that started named", async () => {
  const { client, requests } = serve(
    { messages: [[started("e", 7)]], end: GONE },
    { messages: [[started("e", 9)], [event(8, "c8")]] },
  );
  assert.deepEqual(await sequences(client.agent("a").subscribe()), [8]);
  assert.deepEqual(requests[1]?.startFrom, { case: "afterSequence", value: 7n });
});

test("a slow reader goes on from the cursor of the error", async () => {
  const { client, requests } = serve(
    { messages: [[started("e")]], end: refusal(Code.ResourceExhausted, "SUBSCRIBER_TOO_SLOW", { cursor: "here" }) },
    { messages: [[started("e")], [event(1, "c1")]] },
  );
  assert.deepEqual(await sequences(client.subscribe()), [1]);
  assert.deepEqual(requests[1]?.startFrom, { case: "cursor", value: "here" });
});

test("every other failure ends it", async () => {
  const { client, requests } = serve({ messages: [[started("e")]], end: refusal(Code.OutOfRange, "EVENT_CURSOR_EXPIRED") });
  await assert.rejects(sequences(client.agent("a").subscribe()), { name: "AsterError", reason: "EVENT_CURSOR_EXPIRED" });
  assert.equal(requests.length, 1);
});

test("gives up after three tries where nobody ever answered", async () => {
  const { client, requests } = serve();
  await assert.rejects(sequences(client.agent("a").subscribe()), { code: Code.Unavailable });
  assert.equal(requests.length, 3);
});

test("a stream whose turn is complete has ended, whatever became of the connection", async () => {
  const { client } = serve({ messages: [[started("e")], [event(1, "c1", "progress.complete")]], end: GONE });
  assert.deepEqual(await sequences(client.agent("a").stream("go")), [1]);
});

test("batches stay batches", async () => {
  const { client } = serve({
    messages: [[started("e"), event(1, ""), event(2, "c2")], [heartbeat("c2")], [event(3, "c3")]],
  });
  const sizes: number[] = [];
  for await (const frames of client.agent("a").subscribe().batches()) {
    sizes.push(frames.length);
  }
  assert.deepEqual(sizes, [2, 1]);
});

test("what is repeated: reads and calls with a requestId", async () => {
  let tries = 0;
  const fail = (): never => {
    tries += 1;
    throw GONE;
  };
  const failedTurn = (): never => {
    tries += 1;
    throw refusal(Code.Unavailable, "PROVIDER_UNAVAILABLE", { turn_id: "t" });
  };
  const transport = createRouterTransport(({ service }) =>
    service(AgentService, { getStatus: fail, send: fail, closeAgent: fail, chat: failedTurn }),
  );
  const agent = new Client(transport, () => {}).agent("a");
  for (const [call, expected] of [
    [() => agent.status(), 3],
    [() => agent.send("hello"), 3],
    [() => agent.close(), 1],
    [() => agent.chat("hello"), 1],
  ] as const) {
    tries = 0;
    await assert.rejects(call(), (error) => error instanceof AsterError && error.code === Code.Unavailable);
    assert.equal(tries, expected);
  }
});
