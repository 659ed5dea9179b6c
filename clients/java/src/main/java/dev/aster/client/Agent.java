package dev.aster.client;

import dev.aster.v1.AgentServiceGrpc.AgentServiceBlockingStub;
import dev.aster.v1.AgentStatus;
import dev.aster.v1.ApproveToolCallRequest;
import dev.aster.v1.ChatRequest;
import dev.aster.v1.ChatResponse;
import dev.aster.v1.CloseAgentRequest;
import dev.aster.v1.ControlServiceGrpc.ControlServiceBlockingStub;
import dev.aster.v1.Decision;
import dev.aster.v1.DeleteAgentRequest;
import dev.aster.v1.GetStatusRequest;
import dev.aster.v1.GetTurnRequest;
import dev.aster.v1.InterruptRequest;
import dev.aster.v1.PendingRequest;
import dev.aster.v1.RespondToInputRequestRequest;
import dev.aster.v1.RespondToIterationLimitRequest;
import dev.aster.v1.SendRequest;
import dev.aster.v1.SendResponse;
import dev.aster.v1.StartPosition;
import dev.aster.v1.StreamRequest;
import dev.aster.v1.StreamResponse;
import dev.aster.v1.SubscribeRequest;
import dev.aster.v1.SubscribeRequest.StartFromCase;
import dev.aster.v1.SubscribeResponse;
import dev.aster.v1.Turn;
import java.time.Duration;
import java.util.List;

/**
 * A handle on one agent of the server, by id: talk to it, watch it, decide for it.
 *
 * <p>Making one calls nobody; it is safe for many threads. An agent runs one turn at a time and
 * queues the others. Requests are the contract's own; where only a text matters, a string will do.
 * {@code agent_id} and {@code request_id} are filled in. Calls throw {@link AsterException};
 * interrupting the thread cancels the RPC.
 */
public final class Agent {
  private final Transport transport;
  private final String id;

  Agent(Transport transport, String id) {
    this.transport = transport;
    this.id = id;
  }

  /** Its id. */
  public String id() {
    return id;
  }

  /** {@link #chat(ChatRequest, Duration)} with a text, for as long as the turn takes. */
  public ChatResponse chat(String text) {
    return chat(ChatRequest.newBuilder().setMessage(text).build(), null);
  }

  /** {@link #chat(ChatRequest, Duration)} with a text. */
  public ChatResponse chat(String text, Duration limit) {
    return chat(ChatRequest.newBuilder().setMessage(text).build(), limit);
  }

  /**
   * Runs a turn and returns its end.
   *
   * <p>A failed turn is an exception whose metadata has {@code turn_id}. Interrupting the thread or
   * the limit interrupts the turn, unless {@code disconnect_policy} is CONTINUE.
   *
   * @param limit DEADLINE_EXCEEDED after this time; null: none, however long people take to decide
   */
  public ChatResponse chat(ChatRequest request, Duration limit) {
    ChatRequest whole = request.toBuilder().setAgentId(id).setRequestId(idFor(request.getRequestId())).build();
    return transport.call(transport.agents, AgentServiceBlockingStub::chat, whole, limit, Transport.TRIES);
  }

  /** {@link #send(SendRequest)} with a text. */
  public SendResponse send(String text) {
    return send(SendRequest.newBuilder().setMessage(text).build());
  }

  /** Stores the message; the turn goes on by itself, whoever leaves. */
  public SendResponse send(SendRequest request) {
    SendRequest whole = request.toBuilder().setAgentId(id).setRequestId(idFor(request.getRequestId())).build();
    return transport.read(transport.agents, AgentServiceBlockingStub::send, whole);
  }

  /** {@link #stream(StreamRequest)} with a text. */
  public Subscription stream(String text) {
    return stream(StreamRequest.newBuilder().setMessage(text).build());
  }

  /**
   * Runs a turn and iterates over its events up to progress.complete.
   *
   * <p>A failed turn is in that last event, not an exception. When the server ends the stream early,
   * it goes on by Subscribe. Closing it interrupts the turn, unless {@code disconnect_policy} is
   * CONTINUE.
   */
  public Subscription stream(StreamRequest request) {
    StreamRequest whole = request.toBuilder().setAgentId(id).setRequestId(idFor(request.getRequestId())).build();
    Position begin = new Position(new Position.Scope(true, true, false), "", "");
    return new Subscription(transport, begin, position -> resume(whole, position));
  }

  /** Events of this agent, of all three channels and from now on. */
  public Subscription subscribe() {
    return subscribe(SubscribeRequest.getDefaultInstance());
  }

  /** Events of this agent, as the request says. */
  public Subscription subscribe(SubscribeRequest request) {
    return subscribe(transport, request.toBuilder().setAgentId(id).build());
  }

  /**
   * Allows or denies one tool call. The same decision twice is fine; another one is
   * FAILED_PRECONDITION, REQUEST_ALREADY_RESOLVED.
   */
  public PendingRequest approve(String pendingId, boolean allow) {
    return approve(ApproveToolCallRequest.newBuilder().setPendingId(pendingId).setDecision(decision(allow)).build());
  }

  /** The same with a note, an edited input, a scope, or the digest of the input that was shown. */
  public PendingRequest approve(ApproveToolCallRequest request) {
    ApproveToolCallRequest whole = request.toBuilder().setAgentId(id).build();
    return transport.write(transport.control, ControlServiceBlockingStub::approveToolCall, whole).getPending();
  }

  /** Answers a question with a text. */
  public PendingRequest respond(String pendingId, String text) {
    return respond(RespondToInputRequestRequest.newBuilder().setPendingId(pendingId).setText(text).build());
  }

  /** Answers a question with the indexes of the chosen options, from 0. */
  public PendingRequest respond(String pendingId, List<Integer> options) {
    return respond(
        RespondToInputRequestRequest.newBuilder().setPendingId(pendingId).addAllOptionIndexes(options).build());
  }

  /** Answers a question, or dismisses it. */
  public PendingRequest respond(RespondToInputRequestRequest request) {
    RespondToInputRequestRequest whole = request.toBuilder().setAgentId(id).build();
    return transport.write(transport.control, ControlServiceBlockingStub::respondToInputRequest, whole).getPending();
  }

  /** Lets a turn go on past its iteration limit, or ends it. */
  public PendingRequest respondToIterationLimit(String pendingId, boolean allow, int additionalSteps) {
    RespondToIterationLimitRequest request =
        RespondToIterationLimitRequest.newBuilder()
            .setAgentId(id)
            .setPendingId(pendingId)
            .setDecision(decision(allow))
            .setAdditionalSteps(additionalSteps)
            .build();
    return transport.write(transport.control, ControlServiceBlockingStub::respondToIterationLimit, request).getPending();
  }

  /** State and counters; does not wake the agent. */
  public AgentStatus status() {
    GetStatusRequest request = GetStatusRequest.newBuilder().setAgentId(id).build();
    return transport.read(transport.agents, AgentServiceBlockingStub::getStatus, request).getStatus();
  }

  /** One turn as it stands; the way to poll after {@link #send(String)}. */
  public Turn turn(String turnId) {
    GetTurnRequest request = GetTurnRequest.newBuilder().setAgentId(id).setTurnId(turnId).build();
    return transport.read(transport.agents, AgentServiceBlockingStub::getTurn, request).getTurn();
  }

  /** Stops the named turn, or with an empty id the current one, and returns it when it has ended. */
  public Turn interrupt(String turnId) {
    InterruptRequest request = InterruptRequest.newBuilder().setAgentId(id).setTurnId(turnId).build();
    return transport.write(transport.agents, AgentServiceBlockingStub::interrupt, request).getTurn();
  }

  /**
   * Interrupts the current turn and closes the agent for good; history stays. The handle itself
   * needs no closing.
   */
  public void close() {
    CloseAgentRequest request = CloseAgentRequest.newBuilder().setAgentId(id).build();
    transport.write(transport.agents, AgentServiceBlockingStub::closeAgent, request);
  }

  /** Deletes the agent with its sessions and events; {@code force} also while a turn runs. */
  public void delete(boolean force) {
    DeleteAgentRequest request = DeleteAgentRequest.newBuilder().setAgentId(id).setForce(force).build();
    transport.write(transport.agents, AgentServiceBlockingStub::deleteAgent, request);
  }

  /** Yes or no, as the contract says it. */
  static Decision decision(boolean allow) {
    return allow ? Decision.DECISION_ALLOW : Decision.DECISION_DENY;
  }

  static String idFor(String requestId) {
    return requestId.isEmpty() ? Transport.newRequestId() : requestId;
  }

  /** A subscription that resumes from its cursor. */
  static Subscription subscribe(Transport transport, SubscribeRequest request) {
    Position.Scope scope = new Position.Scope(request.getUntilTurnComplete(), false, isFromNow(request));
    Position begin = new Position(scope, request.getCursor(), request.getTurnId());
    return new Subscription(transport, begin, position -> open(transport, resume(request, position)));
  }

  private FrameReader<?, ?> resume(StreamRequest request, Position position) {
    if (position.turnId().isEmpty() || position.cursor().isEmpty()) {
      // Nothing of the turn was seen: the same request_id streams it from its beginning.
      return FrameReader.<StreamRequest, StreamResponse>open(
          reader -> transport.agentStreams.stream(request, reader), StreamResponse::getFramesList);
    }
    SubscribeRequest rest =
        SubscribeRequest.newBuilder()
            .setAgentId(id)
            .setTurnId(position.turnId())
            .setCursor(position.cursor())
            .addAllChannels(request.getChannelsList())
            .setUntilTurnComplete(true)
            .build();
    return open(transport, rest);
  }

  private static SubscribeRequest resume(SubscribeRequest request, Position position) {
    if (!position.cursor().isEmpty()) {
      return request.toBuilder().setCursor(position.cursor()).build();
    }
    Long after = position.afterSequence();
    return after == null ? request : request.toBuilder().setAfterSequence(after).build();
  }

  private static FrameReader<?, ?> open(Transport transport, SubscribeRequest request) {
    return FrameReader.<SubscribeRequest, SubscribeResponse>open(
        reader -> transport.events.subscribe(request, reader), SubscribeResponse::getFramesList);
  }

  /** Only where one agent is named does {@code started} carry a sequence to go on from. */
  private static boolean isFromNow(SubscribeRequest request) {
    boolean startsNow =
        request.getStartFromCase() == StartFromCase.STARTFROM_NOT_SET
            || request.getPosition() == StartPosition.START_POSITION_NOW;
    return startsNow && !request.getAgentId().isEmpty();
  }
}
