package dev.aster.client;

import dev.aster.v1.AgentConfig;
import dev.aster.v1.AgentServiceGrpc.AgentServiceBlockingStub;
import dev.aster.v1.ApproveToolCallRequest;
import dev.aster.v1.ControlServiceGrpc.ControlServiceBlockingStub;
import dev.aster.v1.CreateAgentRequest;
import dev.aster.v1.GetAgentRequest;
import dev.aster.v1.GetServerInfoRequest;
import dev.aster.v1.ListAgentsRequest;
import dev.aster.v1.ListAgentsResponse;
import dev.aster.v1.ListMessagesRequest;
import dev.aster.v1.ListMessagesResponse;
import dev.aster.v1.ListPendingApprovalsRequest;
import dev.aster.v1.ListPendingApprovalsResponse;
import dev.aster.v1.Message;
import dev.aster.v1.PendingRequest;
import dev.aster.v1.RespondToWorkflowApprovalRequest;
import dev.aster.v1.ServerInfo;
import dev.aster.v1.ServerServiceGrpc.ServerServiceBlockingStub;
import dev.aster.v1.SessionServiceGrpc.SessionServiceBlockingStub;
import dev.aster.v1.SubscribeRequest;
import io.grpc.Channel;
import io.grpc.ChannelCredentials;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.TlsChannelCredentials;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.TimeUnit;
import java.util.function.Function;

/**
 * Talks to one Aster server over one channel; safe for many threads.
 *
 * <p>Making a client connects to nothing; the first call does. Calls throw {@link AsterException};
 * interrupting the thread cancels the RPC.
 */
public final class AsterClient implements AutoCloseable {
  private static final String DEFAULT_ADDRESS = "127.0.0.1:50051";
  private static final int RECEIVE_LIMIT = 16 * 1024 * 1024; // bytes of one message

  private final Transport transport;

  private AsterClient(Transport transport) {
    this.transport = transport;
  }

  /** A client as the environment says: ASTER_ADDRESS and ASTER_API_KEY. */
  public static AsterClient fromEnvironment() {
    return builder().build();
  }

  /** A client with other settings. */
  public static Builder builder() {
    return new Builder();
  }

  /** How a client connects. */
  public static final class Builder {
    private String address = variable("ASTER_ADDRESS").orElse(DEFAULT_ADDRESS);
    private String apiKey = variable("ASTER_API_KEY").orElse("");
    private ChannelCredentials credentials = InsecureChannelCredentials.create();
    private Duration timeout = Duration.ofSeconds(30);

    private Builder() {}

    /** "host:port"; by default from ASTER_ADDRESS, else 127.0.0.1:50051. */
    public Builder address(String value) {
      address = value;
      return this;
    }

    /** The key; by default from ASTER_API_KEY. Empty: none. */
    public Builder apiKey(String value) {
      apiKey = value;
      return this;
    }

    /** TLS with the authorities that Java trusts. */
    public Builder tls() {
      credentials = TlsChannelCredentials.create();
      return this;
    }

    /** TLS with the authorities in this PEM file. */
    public Builder ca(Path pem) throws IOException {
      return ca(Files.readAllBytes(pem));
    }

    /** TLS with these authorities, in PEM. */
    public Builder ca(byte[] pem) throws IOException {
      credentials = TlsChannelCredentials.newBuilder().trustManager(new ByteArrayInputStream(pem)).build();
      return this;
    }

    /** The limit of one short call with its retries, by default 30 s; chats have none. */
    public Builder timeout(Duration value) {
      timeout = value;
      return this;
    }

    /** Makes the client. */
    public AsterClient build() {
      var channel =
          Grpc.newChannelBuilder(address, credentials)
              .keepAliveTime(30, TimeUnit.SECONDS)
              .keepAliveTimeout(10, TimeUnit.SECONDS)
              .keepAliveWithoutCalls(true)
              .maxInboundMessageSize(RECEIVE_LIMIT)
              .build();
      return new AsterClient(new Transport(channel, apiKey, timeout));
    }

    private static Optional<String> variable(String name) {
      return Optional.ofNullable(System.getenv(name)).filter(value -> !value.isEmpty());
    }
  }

  /** Facts about the server that answers. */
  public ServerInfo serverInfo() {
    GetServerInfoRequest request = GetServerInfoRequest.getDefaultInstance();
    return transport.read(transport.server, ServerServiceBlockingStub::getServerInfo, request).getServer();
  }

  /** Creates an agent as its template describes it. */
  public Agent createAgent(String templateId) {
    return createAgent(AgentConfig.newBuilder().setTemplateId(templateId).build());
  }

  /** Creates an agent with this config and an id that the server makes up. */
  public Agent createAgent(AgentConfig config) {
    return createAgent(CreateAgentRequest.newBuilder().setConfig(config).build());
  }

  /** Creates an agent. ALREADY_EXISTS for a taken id, NOT_FOUND for an unknown template. */
  public Agent createAgent(CreateAgentRequest request) {
    CreateAgentRequest whole = request.toBuilder().setRequestId(Agent.idFor(request.getRequestId())).build();
    return agent(transport.read(transport.agents, AgentServiceBlockingStub::createAgent, whole).getAgent().getId());
  }

  /** A handle on an agent that exists; calls nobody. */
  public Agent agent(String agentId) {
    return new Agent(transport, agentId);
  }

  /** An agent's description; NOT_FOUND where there is none. */
  public dev.aster.v1.Agent getAgent(String agentId) {
    GetAgentRequest request = GetAgentRequest.newBuilder().setAgentId(agentId).build();
    return transport.read(transport.agents, AgentServiceBlockingStub::getAgent, request).getAgent();
  }

  /** Descriptions of all agents that match, by id, page after page. */
  public List<dev.aster.v1.Agent> listAgents(ListAgentsRequest request) {
    return pages(
        token -> {
          ListAgentsRequest next = request.toBuilder().setPageToken(token).build();
          return transport.read(transport.agents, AgentServiceBlockingStub::listAgents, next);
        },
        ListAgentsResponse::getAgentsList,
        ListAgentsResponse::getNextPageToken);
  }

  /** The messages of a session, oldest first, page after page. */
  public List<Message> messages(String sessionId) {
    ListMessagesRequest request = ListMessagesRequest.newBuilder().setSessionId(sessionId).build();
    return pages(
        token -> {
          ListMessagesRequest next = request.toBuilder().setPageToken(token).build();
          return transport.read(transport.sessions, SessionServiceBlockingStub::listMessages, next);
        },
        ListMessagesResponse::getMessagesList,
        ListMessagesResponse::getNextPageToken);
  }

  /** Events of the agents that the request names, or of every agent the caller may see. */
  public Subscription subscribe(SubscribeRequest request) {
    return Agent.subscribe(transport, request);
  }

  /** What waits for a person, oldest first: the inbox. An empty id: of all agents. */
  public List<PendingRequest> pendingApprovals(String agentId) {
    ListPendingApprovalsRequest request = ListPendingApprovalsRequest.newBuilder().setAgentId(agentId).build();
    return pages(
        token -> {
          ListPendingApprovalsRequest next = request.toBuilder().setPageToken(token).build();
          return transport.read(transport.control, ControlServiceBlockingStub::listPendingApprovals, next);
        },
        ListPendingApprovalsResponse::getPendingList,
        ListPendingApprovalsResponse::getNextPageToken);
  }

  /**
   * Decides a request of the inbox, whatever its kind; bound to the input that it shows.
   *
   * @throws IllegalArgumentException for a question, which takes an answer ({@link Agent#respond})
   */
  public PendingRequest approve(PendingRequest pending, boolean allow) {
    Agent agent = agent(pending.getAgentId());
    return switch (pending.getRequestCase()) {
      case TOOL_APPROVAL -> agent.approve(
          ApproveToolCallRequest.newBuilder()
              .setPendingId(pending.getId())
              .setDecision(Agent.decision(allow))
              .setInputDigest(pending.getToolApproval().getInputDigest())
              .build());
      case ITERATION_LIMIT -> agent.respondToIterationLimit(pending.getId(), allow, 0);
      case WORKFLOW_APPROVAL -> respondToWorkflowApproval(pending, allow);
      default -> throw new IllegalArgumentException("a question is not decided by yes or no");
    };
  }

  /** The channel with the key, for the generated stubs of services that have no handle here. */
  public Channel channel() {
    return transport.channel;
  }

  /** Closes the channel; running calls are cancelled and subscriptions end. */
  @Override
  public void close() {
    transport.close();
  }

  private PendingRequest respondToWorkflowApproval(PendingRequest pending, boolean allow) {
    RespondToWorkflowApprovalRequest request =
        RespondToWorkflowApprovalRequest.newBuilder()
            .setWorkflowId(pending.getWorkflowApproval().getWorkflowId())
            .setRunId(pending.getWorkflowRunId())
            .setPendingId(pending.getId())
            .setDecision(Agent.decision(allow))
            .build();
    return transport
        .write(transport.control, ControlServiceBlockingStub::respondToWorkflowApproval, request)
        .getPending();
  }

  private static <P, T> List<T> pages(
      Function<String, P> page, Function<P, List<T>> items, Function<P, String> nextToken) {
    List<T> all = new ArrayList<>();
    String token = "";
    do {
      P answer = page.apply(token);
      all.addAll(items.apply(answer));
      token = nextToken.apply(answer);
    } while (!token.isEmpty());
    return all;
  }
}
