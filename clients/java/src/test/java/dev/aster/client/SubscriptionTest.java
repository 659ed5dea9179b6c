package dev.aster.client;

import static dev.aster.client.FakeEvents.event;
import static dev.aster.client.FakeEvents.say;
import static dev.aster.client.FakeEvents.started;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.aster.v1.SubscribeRequest;
import dev.aster.v1.SubscribeResponse;
import io.grpc.Status;
import io.grpc.stub.StreamObserver;
import java.io.IOException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(30)
class SubscriptionTest {
  private static final SubscribeRequest FROM_NOW = SubscribeRequest.getDefaultInstance();
  private static final RuntimeException BROKEN = Status.UNAVAILABLE.asRuntimeException();

  @Test
  void aBreakIsResumedFromTheCursorWithoutRepetition() throws IOException {
    try (FakeEvents fake =
            new FakeEvents(
                answer -> {
                  say(answer, started("e", 0));
                  say(answer, event(1, "x"), event(2, "x"));
                  answer.onError(BROKEN);
                },
                answer -> answer.onError(BROKEN),
                answer -> {
                  say(answer, started("e", 2), event(2, "x"), event(3, "x"));
                  answer.onCompleted();
                });
        Subscription events = fake.open(FROM_NOW)) {
      assertEquals(List.of(1L, 2L, 3L), sequences(events));
      assertEquals(List.of("", "2", "2"), fake.requests.stream().map(SubscribeRequest::getCursor).toList());
      assertEquals(new Statistics(3, 1, 2, 0, 0), events.statistics());
    }
  }

  @Test
  void fromNowGoesOnFromTheFirstStarted() throws IOException {
    try (FakeEvents fake =
            new FakeEvents(
                answer -> {
                  say(answer, started("e", 5));
                  answer.onError(BROKEN);
                },
                answer -> answer.onCompleted());
        Subscription events = fake.open(FROM_NOW)) {
      assertFalse(events.hasNext());
      assertEquals(5, fake.requests.get(1).getAfterSequence());
    }
  }

  @Test
  void aServerThatWasNeverThereIsGivenUpAfterThreeTries() throws IOException {
    try (FakeEvents fake =
            new FakeEvents(
                answer -> answer.onError(BROKEN),
                answer -> answer.onError(BROKEN),
                answer -> answer.onError(BROKEN));
        Subscription events = fake.open(FROM_NOW)) {
      assertEquals(Status.Code.UNAVAILABLE, assertThrows(AsterException.class, events::awaitStarted).code());
      assertEquals(3, fake.requests.size());
      assertFalse(events.hasNext());
    }
  }

  @Test
  void anotherFailureIsThrownOnce() throws IOException {
    try (FakeEvents fake =
            new FakeEvents(
                answer -> {
                  say(answer, started("e", 0));
                  answer.onError(Status.OUT_OF_RANGE.asRuntimeException());
                });
        Subscription events = fake.open(FROM_NOW)) {
      assertEquals(Status.Code.OUT_OF_RANGE, assertThrows(AsterException.class, events::next).code());
      assertFalse(events.hasNext());
    }
  }

  @Test
  void aBreakAfterTheLastEventIsTheEnd() throws IOException {
    SubscribeRequest untilComplete = SubscribeRequest.newBuilder().setUntilTurnComplete(true).build();
    try (FakeEvents fake =
            new FakeEvents(
                answer -> {
                  say(answer, started("e", 0), event(1, "progress.complete"));
                  answer.onError(BROKEN);
                });
        Subscription events = fake.open(untilComplete)) {
      assertEquals(List.of(1L), sequences(events));
    }
  }

  @Test
  void theCursorIsThatOfTheLastEventRead() throws IOException {
    try (FakeEvents fake =
            new FakeEvents(answer -> say(answer, started("e", 0), event(1, "x"), event(2, "x"), event(3, "x")));
        Subscription events = fake.open(FROM_NOW)) {
      events.next();
      assertEquals("1", events.cursor());
      assertEquals(2, events.nextBatch().size());
      assertEquals("3", events.cursor());
    }
  }

  @Test
  void givingUpOneReadLosesNothing() throws Exception {
    var more = new CompletableFuture<StreamObserver<SubscribeResponse>>();
    try (FakeEvents fake =
            new FakeEvents(
                answer -> {
                  say(answer, started("e", 0));
                  more.complete(answer);
                });
        Subscription events = fake.open(FROM_NOW)) {
      events.awaitStarted();
      assertTrue(events.poll(Duration.ZERO).isEmpty());
      Thread.currentThread().interrupt();
      assertEquals(Status.Code.CANCELLED, assertThrows(AsterException.class, events::next).code());
      assertTrue(Thread.interrupted());
      say(more.get(), event(1, "x"));
      assertEquals(1, events.next().sequence());
      assertEquals(1, fake.requests.size());
    }
  }

  @Test
  void closingTheClientEndsItsSubscriptions() throws IOException {
    try (FakeEvents fake = new FakeEvents(answer -> say(answer, started("e", 0)));
        Subscription events = fake.open(FROM_NOW)) {
      events.awaitStarted();
      fake.transport.close();
      assertFalse(events.hasNext());
    }
  }

  private static List<Long> sequences(Subscription events) {
    List<Long> all = new ArrayList<>();
    events.forEachRemaining(event -> all.add(event.sequence()));
    return all;
  }
}
