// Types made from /openapi.json, and a small client that they check, making real calls.
import assert from "node:assert/strict";
import { test } from "node:test";
import type { components, paths } from "./build/api.js";
import { HTTP, LIMIT, QUICK } from "./stage.js";

type Json<T> = T extends { content: { "application/json": infer J } } ? J : never;
type Operation<P extends keyof paths, M extends keyof paths[P]> = paths[P][M];
type Answer<O> = O extends { responses: { 200: infer R } } ? Json<R> : never;
type Body<O> = O extends { requestBody?: infer B } ? Json<NonNullable<B>> : never;
type Query<O> = O extends { parameters: { query?: infer Q } } ? Q : never;

async function read<T>(response: Response): Promise<T> {
  if (response.ok) return (await response.json()) as T;
  const { error } = (await response.json()) as components["schemas"]["Error"];
  throw new Error(error.status);
}

async function get<P extends keyof paths>(
  path: P, names: Record<string, string>, query: Query<Operation<P, "get">> | Record<string, never> = {},
): Promise<Answer<Operation<P, "get">>> {
  const filled = String(path).replace(/\{([^}]*)\}/g, (_, name: string) => encodeURIComponent(names[name] ?? ""));
  const text = new URLSearchParams(Object.entries(query as Record<string, unknown>).map(([k, v]) => [k, String(v)]));
  return read(await fetch(`${HTTP}${filled}?${text}`));
}

async function post<P extends keyof paths>(
  path: P, names: Record<string, string>, body: Body<Operation<P, "post">>,
): Promise<Answer<Operation<P, "post">>> {
  const filled = String(path).replace(/\{([^}]*)\}/g, (_, name: string) => encodeURIComponent(names[name] ?? ""));
  const headers = { "content-type": "application/json" };
  return read(await fetch(`${HTTP}${filled}`, { method: "POST", headers, body: JSON.stringify(body) }));
}

test("read, write and page", { timeout: LIMIT }, async () => {
  const agent = await get("/api/agents/{agent_id}", { agent_id: QUICK });
  const model: string | undefined = agent.config?.modelConfig?.model;
  assert.ok(model?.startsWith("script:"));
  const done = await post("/api/agents/{agent_id}/run", { agent_id: QUICK }, { message: "hello" });
  const text: string | undefined = done.text;
  assert.equal(text, "one two three");
  const state: components["schemas"]["TurnState"] | undefined = done.turn?.state;
  assert.equal(state, "TURN_STATE_COMPLETED");
  const page = await get("/api/agents", {}, { pageSize: 1, idPrefix: "q" });
  assert.deepEqual(page.agents?.map(({ id }) => id), [QUICK]);
});

test("errors have the shape the document says", { timeout: LIMIT }, async () => {
  await assert.rejects(get("/api/agents/{agent_id}", { agent_id: "nobody" }), new Error("NOT_FOUND"));
});

test("what the document does not know does not compile", () => {
  // @ts-expect-error - a member that is not there
  const wrong: Body<Operation<"/api/agents/{agent_id}/run", "post">> = { nonsense: 1 };
  // @ts-expect-error - a number where the document has an enum
  const state: components["schemas"]["TurnState"] = 4;
  assert.ok(wrong && state);
});
