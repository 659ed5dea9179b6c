package dev.aster.client;

import static dev.aster.client.FakeEvents.event;
import static dev.aster.client.FakeEvents.started;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.aster.v1.EventFrame;
import dev.aster.v1.EventGap;
import dev.aster.v1.Heartbeat;
import io.grpc.Status;
import java.util.List;
import org.junit.jupiter.api.Test;

class PositionTest {
  private static final AsterException BROKEN = AsterException.of(Status.Code.UNAVAILABLE, "broken");

  private final Position position = new Position(new Position.Scope(false, false, false), "opened", "");

  @Test
  void anAgentMadeAnewIsNoRepetition() {
    position.accept(List.of(started("e", 0), event(1, "x"), event(2, "x")));
    position.lost(BROKEN);
    assertEquals(List.of(event(3, "x")), position.accept(List.of(event(2, "x"), event(3, "x"))));
    assertEquals(1, position.accept(List.of(event(1, "x"))).size());
  }

  @Test
  void anotherLogRepeatsNothing() {
    position.accept(List.of(started("e", 0), event(9, "x")));
    position.lost(BROKEN);
    assertEquals(1, position.accept(List.of(started("other", 0), event(1, "x"))).size());
  }

  @Test
  void aHeartbeatMovesTheCursorAndAFrameWithoutOneDoesNot() {
    assertTrue(position.accept(List.of(started("e", 0))).isEmpty());
    assertEquals("opened", position.cursor());
    EventFrame beat = EventFrame.newBuilder().setCursor("beat").setHeartbeat(Heartbeat.getDefaultInstance()).build();
    assertTrue(position.accept(List.of(beat)).isEmpty());
    assertEquals("beat", position.cursor());
  }

  @Test
  void aGapIsHandedOnAndCounted() {
    EventFrame gap = EventFrame.newBuilder().setGap(EventGap.newBuilder().setDroppedCount(3)).build();
    assertEquals(List.of(gap), position.accept(List.of(gap)));
    assertEquals(new Statistics(0, 0, 0, 1, 3), position.statistics());
  }

  @Test
  void onlyItsOwnTurnCompletesAStream() {
    Position stream = new Position(new Position.Scope(true, true, false), "", "");
    EventFrame complete = event(2, "progress.complete");
    EventFrame other = complete.toBuilder().setEvent(complete.getEvent().toBuilder().setTurnId("other")).build();
    stream.accept(List.of(event(1, "x"), other));
    assertEquals("t", stream.turnId());
    assertFalse(stream.completed());
    stream.accept(List.of(complete));
    assertTrue(stream.completed());
  }
}
