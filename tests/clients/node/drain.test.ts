// The end of a server, as its streams see it: an error in mid-stream, with its reason and where to go on.
import assert from "node:assert/strict";
import process from "node:process";
import { test } from "node:test";
import { Code, ConnectError, createClient, type Transport } from "@connectrpc/connect";
import * as node from "@connectrpc/connect-node";
import * as web from "@connectrpc/connect-web";
import { EventService } from "./build/gen/aster/v1/event_service_pb.js";
import { ErrorInfoSchema } from "./build/gen/google/rpc/error_details_pb.js";
import { GRPC, HTTP, LIMIT, QUICK, SERVER_PID } from "./stage.js";

const TRANSPORTS: Record<string, Transport> = {
  "connect json": web.createConnectTransport({ baseUrl: HTTP }),
  "connect binary": web.createConnectTransport({ baseUrl: HTTP, useBinaryFormat: true }),
  "grpc-web": web.createGrpcWebTransport({ baseUrl: HTTP }),
  "node connect": node.createConnectTransport({ baseUrl: HTTP, httpVersion: "1.1" }),
  grpc: node.createGrpcTransport({ baseUrl: GRPC }),
};

test("every stream ends with its reason and a cursor", { timeout: LIMIT }, async () => {
  let open = 0;
  const ends = Object.entries(TRANSPORTS).map(async ([name, transport]) => {
    try {
      for await (const { frames } of createClient(EventService, transport).subscribe({ agentId: QUICK })) {
        if (frames[0]?.frame.case !== "started") continue;
        open += 1;
        if (open === Object.keys(TRANSPORTS).length) process.kill(SERVER_PID, "SIGTERM");
      }
    } catch (error) {
      const found = ConnectError.from(error);
      const info = found.findDetails(ErrorInfoSchema)[0];
      return [name, Code[found.code], info?.reason, (info?.metadata["cursor"] ?? "") !== ""];
    }
    return [name, "ended"];
  });
  assert.deepEqual(
    await Promise.all(ends),
    Object.keys(TRANSPORTS).map((name) => [name, "Unavailable", "DRAINING", true]),
  );
});
