// A short story over fetch, as a page plays it: browser.js BASE_URL.
import { AsterClient, AsterError, Code } from "@asteros/client/browser";
import { say, sayError, sayEvent } from "./lines.js";

const client = new AsterClient({ baseUrl: process.argv[2] ?? "", apiKey: process.env["ASTER_API_KEY"] ?? "" });
const modelConfig = { provider: "scripted", model: "echo" };
const agent = await client.createAgent({ templateId: "chat", modelConfig }, { agentId: "page" });
say((await agent.chat("Hello, 世界")).text);

for await (const event of agent.stream("streamed", { channels: ["progress"] })) {
  sayEvent(event);
}

const { cursor } = await agent.send("sent");
for await (const event of agent.subscribe({ from: { cursor }, eventTypes: ["progress.text_done"] })) {
  sayEvent(event);
  break;
}

await client.agent("nobody").chat("hello").catch((error: AsterError) => sayError(error, ["agent_id"]));

await client.createAgent(
  { templateId: "chat", modelConfig: { provider: "scripted", model: "flood:1000000@20" } },
  { agentId: "endless" },
);
const endless = client.agent("endless");
const cancelling = new AbortController();
const error = await endless
  .chat("go", { signal: AbortSignal.any([cancelling.signal, AbortSignal.timeout(500)]) })
  .then(() => undefined, AsterError.from);
say(error === undefined ? "not cancelled" : "cancelled");
for await (const event of endless.subscribe({ from: "earliest", eventTypes: ["progress.complete"] })) {
  sayEvent(event);
  break;
}
await endless.chat("go", { timeout: 300 }).catch((late: AsterError) => say(Code[late.code]));
client.close();
