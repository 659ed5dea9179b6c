package dev.aster.conformance;

import static dev.aster.conformance.Lines.say;
import static dev.aster.conformance.Lines.sayEvent;
import static dev.aster.conformance.Lines.word;

import com.google.gson.JsonElement;
import com.google.gson.JsonParser;
import dev.aster.client.Agent;
import dev.aster.client.AsterClient;
import dev.aster.client.AsterException;
import dev.aster.client.EventView;
import dev.aster.client.Subscription;
import dev.aster.v1.AgentConfig;
import dev.aster.v1.AgentStatus;
import dev.aster.v1.Channel;
import dev.aster.v1.ChatResponse;
import dev.aster.v1.CreateAgentRequest;
import dev.aster.v1.CreateStarRequest;
import dev.aster.v1.EventFrame;
import dev.aster.v1.ModelConfig;
import dev.aster.v1.PendingRequest;
import dev.aster.v1.PermissionPolicy;
import dev.aster.v1.RunStarRequest;
import dev.aster.v1.SendResponse;
import dev.aster.v1.StarMember;
import dev.aster.v1.StarsServiceGrpc;
import dev.aster.v1.StarsServiceGrpc.StarsServiceBlockingStub;
import dev.aster.v1.StartPosition;
import dev.aster.v1.StreamRequest;
import dev.aster.v1.SubscribeRequest;
import dev.aster.v1.TextDone;
import dev.aster.v1.ToolApprovalRequest;
import dev.aster.v1.UserInputRequest;
import io.grpc.StatusRuntimeException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.CancellationException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;

/** The Java runner of the story: {@code clients/conformance/README.md} says what each step does. */
public final class Runner {
  private final AsterClient client;
  private final Map<String, String> cursors = new HashMap<>(); // that steps have kept

  private Runner(AsterClient client) {
    this.client = client;
  }

  /** Plays the scenario whose path is the only argument. */
  public static void main(String[] arguments) throws Exception {
    List<String> without =
        Arrays.asList(System.getenv().getOrDefault("ASTER_WITHOUT", "").split(","));
    try (AsterClient client = connect(AsterClient.builder())) {
      Runner runner = new Runner(client);
      String scenario = Files.readString(Path.of(arguments[0]));
      for (JsonElement json : JsonParser.parseString(scenario).getAsJsonObject().getAsJsonArray("steps")) {
        Step step = new Step(json.getAsJsonObject());
        if (!step.has("needs") || !without.contains(step.text("needs"))) {
          runner.play(step);
        }
      }
    }
  }

  private static AsterClient connect(AsterClient.Builder builder) throws IOException {
    String ca = System.getenv().getOrDefault("ASTER_CA", "");
    return (ca.isEmpty() ? builder : builder.ca(Path.of(ca))).build();
  }

  private void play(Step step) throws Exception {
    say("# " + step.text("name"));
    try {
      switch (step.text("do")) {
        case "create_agent" -> createAgent(step);
        case "chat" -> chat(step);
        case "stream" -> stream(step);
        case "send" -> send(step);
        case "subscribe" -> subscribe(step);
        case "resume" -> resume(step);
        case "batches" -> batches(step);
        case "deadline" -> deadline(step);
        case "cancel" -> cancel(step);
        case "status" -> status(step);
        case "star" -> star(step);
        case "close" -> close(step);
        default -> throw new IllegalArgumentException("no step " + step.text("do"));
      }
    } catch (AsterException | StatusRuntimeException failure) {
      say(Lines.errorLine(AsterException.of(failure), step.texts("show")));
    }
  }

  private Agent agent(Step step) {
    return client.agent(step.text("agent"));
  }

  /** The request of a subscription that begins as the step says. */
  private SubscribeRequest.Builder beginning(Step step) {
    SubscribeRequest.Builder request = SubscribeRequest.newBuilder();
    return step.has("cursor")
        ? request.setCursor(cursors.get(step.text("cursor")))
        : request.setPosition(StartPosition.START_POSITION_EARLIEST);
  }

  private void createAgent(Step step) {
    AgentConfig.Builder config =
        AgentConfig.newBuilder()
            .setTemplateId("chat")
            .setModelConfig(ModelConfig.newBuilder().setProvider("scripted").setModel(step.text("model")))
            .addAllTools(step.texts("tools"));
    step.texts("ask").forEach(tool -> config.putToolPermissions(tool, PermissionPolicy.PERMISSION_POLICY_ASK));
    CreateAgentRequest request =
        CreateAgentRequest.newBuilder().setAgentId(step.text("agent")).setConfig(config).build();
    say("agent " + client.createAgent(request).id());
  }

  private void chat(Step step) {
    ChatResponse reply = agent(step).chat(step.text("text"));
    say("chat " + word(reply.getTurn().getStopReason(), "STOP_REASON_") + " " + reply.getText());
  }

  private void stream(Step step) throws IOException {
    Agent agent = agent(step);
    StreamRequest request =
        StreamRequest.newBuilder()
            .setMessage(step.text("text"))
            .addChannels(Channel.CHANNEL_PROGRESS)
            .addChannels(Channel.CHANNEL_CONTROL)
            .build();
    Map<Integer, String> chunks = new HashMap<>();
    boolean whole = true;
    try (Subscription events = agent.stream(request)) {
      for (EventView event : events) {
        sayEvent(event);
        chunks.merge(event.event().getStep(), event.textDelta(), String::concat);
        if (event.payload() instanceof TextDone done) {
          whole &= done.getText().equals(chunks.get(event.event().getStep()));
        } else if (event.payload() instanceof ToolApprovalRequest) {
          decide(step, event.id());
        } else if (event.payload() instanceof UserInputRequest) {
          agent.respond(event.id(), step.numbers("answer"));
        }
      }
    }
    say(whole ? "text whole" : "text broken");
  }

  /** Decides a request from a connection of its own, as another person would. */
  private static void decide(Step step, String pendingId) throws IOException {
    try (AsterClient second = connect(AsterClient.builder())) {
      for (PendingRequest pending : second.pendingApprovals(step.text("agent"))) {
        if (pending.getId().equals(pendingId)) {
          second.approve(pending, step.text("decide").equals("allow"));
        }
      }
    }
  }

  private void send(Step step) {
    SendResponse sent = agent(step).send(step.text("text"));
    cursors.put(step.text("save"), sent.getCursor());
    say("sent");
  }

  private void subscribe(Step step) {
    SubscribeRequest.Builder request = beginning(step).addAllEventTypes(step.texts("event_types"));
    step.texts("channels").forEach(name -> request.addChannels(channel(name)));
    try (Subscription events = agent(step).subscribe(request.build())) {
      for (int left = step.number("count"); left > 0; left--) {
        sayEvent(events.next());
      }
      cursors.put(step.text("save"), events.cursor());
    }
  }

  private void resume(Step step) throws IOException {
    boolean dense = true;
    int count = 0;
    long last = 0;
    try (Subscription events = agent(step).subscribe(beginning(step).build())) {
      EventView event;
      do {
        event = events.next();
        dense &= last == 0 || event.sequence() == last + 1;
        last = event.sequence();
        count++;
        if (count == step.number("after")) {
          Lines.wish(step.text("wish"));
        }
      } while (!event.type().equals("progress.complete"));
      say(dense ? "dense" : "gap");
      say(events.statistics().reconnects() > 0 ? "reconnected" : "connected");
      sayEvent(event);
    }
  }

  private void batches(Step step) {
    boolean dense = true;
    boolean done = false;
    int largest = 0;
    long last = 0;
    try (Subscription events = agent(step).subscribe(beginning(step).build())) {
      while (!done) {
        List<EventFrame> batch = events.nextBatch();
        largest = Math.max(largest, batch.size());
        for (EventFrame frame : batch) {
          dense &= frame.getEvent().getSequence() == last + 1;
          last = frame.getEvent().getSequence();
          done |= frame.getEvent().getEventType().equals("progress.complete");
        }
      }
    }
    say(dense ? "dense" : "gap");
    say(largest > 1 ? "batched" : "single");
  }

  private void deadline(Step step) {
    Agent agent = agent(step);
    SubscribeRequest request = SubscribeRequest.newBuilder().addEventTypes("progress.complete").build();
    try (Subscription events = agent.subscribe(request)) {
      events.awaitStarted();
      try {
        agent.chat(step.text("text"), Duration.ofMillis(Math.round(step.seconds() * 1000)));
      } catch (AsterException error) {
        say(Lines.errorLine(error, List.of()));
      }
      sayEvent(events.next());
    }
  }

  private void cancel(Step step) throws Exception {
    Agent agent = agent(step);
    SubscribeRequest request = SubscribeRequest.newBuilder().addChannels(Channel.CHANNEL_PROGRESS).build();
    ExecutorService beside = Executors.newSingleThreadExecutor();
    try (Subscription events = agent.subscribe(request)) {
      events.awaitStarted();
      Future<ChatResponse> chat = beside.submit(() -> agent.chat(step.text("text")));
      find(events, "text_chunk");
      chat.cancel(true);
      beside.shutdown();
      if (beside.awaitTermination(10, TimeUnit.SECONDS) && isCancelled(chat)) {
        say("cancelled");
      }
      sayEvent(find(events, "complete"));
    } finally {
      beside.shutdownNow();
    }
  }

  private static boolean isCancelled(Future<?> chat) throws Exception {
    try {
      chat.get();
      return false;
    } catch (CancellationException e) {
      return true;
    }
  }

  private static EventView find(Subscription events, String kind) {
    EventView event = events.next();
    while (!event.kind().equals(kind)) {
      event = events.next();
    }
    return event;
  }

  private void status(Step step) throws IOException {
    if (!step.text("client").equals("anonymous")) {
      sayStatus(agent(step).status());
      return;
    }
    try (AsterClient anonymous = connect(AsterClient.builder().apiKey(""))) {
      sayStatus(anonymous.agent(step.text("agent")).status());
    }
  }

  private static void sayStatus(AgentStatus status) {
    String state = word(status.getState(), "AGENT_STATE_");
    say("status " + state + " " + word(status.getActivity(), "AGENT_ACTIVITY_"));
  }

  private void star(Step step) {
    StarsServiceBlockingStub stars = StarsServiceGrpc.newBlockingStub(client.channel());
    CreateStarRequest create =
        CreateStarRequest.newBuilder()
            .setStarId(step.text("star"))
            .addMembers(StarMember.newBuilder().setAgentId(step.text("leader")).setRole("leader"))
            .addMembers(StarMember.newBuilder().setAgentId(step.text("member")).setRole("worker"))
            .build();
    stars.createStar(create);
    RunStarRequest run =
        RunStarRequest.newBuilder().setStarId(step.text("star")).setMessage(step.text("text")).build();
    say("star " + stars.runStar(run).getText());
  }

  private void close(Step step) {
    agent(step).close();
    say("closed");
  }

  private static Channel channel(String name) {
    return Channel.valueOf("CHANNEL_" + name.toUpperCase(Locale.ROOT));
  }
}
