package dev.aster.client;

import dev.aster.v1.Event;
import dev.aster.v1.EventFrame;
import dev.aster.v1.EventServiceGrpc;
import dev.aster.v1.SubscribeRequest;
import dev.aster.v1.SubscribeResponse;
import dev.aster.v1.SubscriptionStarted;
import io.grpc.ManagedChannel;
import io.grpc.Server;
import io.grpc.Status;
import io.grpc.inprocess.InProcessChannelBuilder;
import io.grpc.inprocess.InProcessServerBuilder;
import io.grpc.stub.StreamObserver;
import java.io.IOException;
import java.time.Duration;
import java.util.List;
import java.util.Queue;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.CopyOnWriteArrayList;

/** A server whose subscriptions play one script for each opening; keeps the requests of all. */
final class FakeEvents extends EventServiceGrpc.EventServiceImplBase implements AutoCloseable {
  final List<SubscribeRequest> requests = new CopyOnWriteArrayList<>();
  final Transport transport;
  private final Queue<Script> scripts = new ConcurrentLinkedQueue<>();
  private final Server server;

  /** What one opening is told. */
  interface Script {
    void play(StreamObserver<SubscribeResponse> answer);
  }

  FakeEvents(Script... scripts) throws IOException {
    this.scripts.addAll(List.of(scripts));
    String name = InProcessServerBuilder.generateName();
    this.server = InProcessServerBuilder.forName(name).addService(this).build().start();
    ManagedChannel channel = InProcessChannelBuilder.forName(name).build();
    this.transport = new Transport(channel, "", Duration.ofSeconds(10));
  }

  @Override
  public void subscribe(SubscribeRequest request, StreamObserver<SubscribeResponse> answer) {
    requests.add(request);
    Script script = scripts.poll();
    if (script == null) {
      answer.onError(Status.INTERNAL.withDescription("one opening too many").asRuntimeException());
    } else {
      script.play(answer);
    }
  }

  Subscription open(SubscribeRequest request) {
    return new Agent(transport, "a").subscribe(request);
  }

  @Override
  public void close() {
    transport.close();
    server.shutdownNow();
  }

  static void say(StreamObserver<SubscribeResponse> answer, EventFrame... frames) {
    answer.onNext(SubscribeResponse.newBuilder().addAllFrames(List.of(frames)).build());
  }

  static EventFrame event(long sequence, String type) {
    Event event =
        Event.newBuilder().setAgentId("a").setSequence(sequence).setTurnId("t").setEventType(type).build();
    return EventFrame.newBuilder().setCursor(Long.toString(sequence)).setEvent(event).build();
  }

  static EventFrame started(String epoch, long latest) {
    SubscriptionStarted started =
        SubscriptionStarted.newBuilder().setLogEpoch(epoch).setLatestSequence(latest).build();
    return EventFrame.newBuilder().setStarted(started).build();
  }
}
