import type { MessageInitShape } from "@bufbuild/protobuf";
import type { Transport } from "@connectrpc/connect";
import { Agent, decision, present, subscribe, type SubscribeOptions } from "./agent.js";
import { Calls, DEFAULT_TIMEOUT, newRequestId, type CallOptions } from "./calls.js";
import type { AgentConfigSchema } from "./gen/aster/v1/agent_pb.js";
import { AgentService } from "./gen/aster/v1/agent_service_pb.js";
import { ControlService, type PendingRequest } from "./gen/aster/v1/control_service_pb.js";
import type { Subscription } from "./subscription.js";

/** What a new agent may have besides its config. */
export interface CreateOptions extends CallOptions {
  agentId?: string;
  displayName?: string;
  labels?: Record<string, string>;
  requestId?: string;
}

/** What every client can, over whatever transport. Every call rejects with AsterError. */
export class Client {
  private readonly calls: Calls;

  constructor(
    /** For generated clients of services that have no words here: createClient(StarsService, client.transport). */
    readonly transport: Transport,
    private readonly disconnect: () => void,
    timeout = DEFAULT_TIMEOUT,
  ) {
    this.calls = new Calls(transport, timeout);
  }

  /** Ends the connection; calls that run and subscriptions end. */
  close(): void {
    this.disconnect();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /** Creates an agent. ALREADY_EXISTS for a taken id, NOT_FOUND for an unknown template. */
  async createAgent(config: MessageInitShape<typeof AgentConfigSchema>, options: CreateOptions = {}): Promise<Agent> {
    const { signal, timeout, requestId = newRequestId(), ...fields } = options;
    const request = { config, requestId, ...fields };
    const response = await this.calls.call(AgentService.method.createAgent, request, { signal, timeout });
    const agent = present(response.agent);
    return new Agent(this.calls, agent.id, agent);
  }

  /** A handle on an agent that exists; calls nobody. */
  agent(id: string): Agent {
    return new Agent(this.calls, id);
  }

  /** Events of many agents on one stream; no id means every agent the caller may see. */
  subscribe(options: SubscribeOptions = {}): Subscription {
    return subscribe(this.calls, options);
  }

  /** Everything that waits for a person, oldest first: the inbox. Asks for page after page. */
  async *pendingApprovals(agentId = "", options?: CallOptions): AsyncGenerator<PendingRequest, void, undefined> {
    let pageToken = "";
    do {
      const page = await this.calls.call(ControlService.method.listPendingApprovals, { agentId, pageToken }, options);
      yield* page.pending;
      pageToken = page.nextPageToken;
    } while (pageToken);
  }

  /** Decides a request of the inbox, whatever its kind; a tool call is bound to the input that it shows. */
  async approve(pending: PendingRequest, allow: boolean): Promise<void> {
    const agent = this.agent(pending.agentId);
    const { request } = pending;
    switch (request.case) {
      case "toolApproval":
        return agent.approve(pending.id, allow, { inputDigest: request.value.inputDigest });
      case "iterationLimit":
        return agent.respondToIterationLimit(pending.id, allow);
      case "workflowApproval":
        await this.calls.call(ControlService.method.respondToWorkflowApproval, {
          workflowId: request.value.workflowId,
          runId: pending.workflowRunId,
          pendingId: pending.id,
          decision: decision(allow),
        });
        return;
      default:
        throw new TypeError("a question is not decided by yes or no: use agent.respond");
    }
  }
}
