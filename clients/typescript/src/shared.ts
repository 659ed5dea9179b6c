export { Code } from "@connectrpc/connect";
export { Agent, type SubscribeOptions } from "./agent.js";
export { newRequestId, type CallOptions } from "./calls.js";
export { Client, type CreateOptions } from "./client.js";
export { AsterError, type Violation } from "./errors.js";
export { EventView, type Kind } from "./events.js";
export { Subscription, type Statistics } from "./subscription.js";
export { word, type ChannelName } from "./words.js";
