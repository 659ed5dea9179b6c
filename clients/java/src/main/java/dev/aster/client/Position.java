package dev.aster.client;

import dev.aster.v1.Event;
import dev.aster.v1.EventFrame;
import dev.aster.v1.SubscriptionStarted;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/** How far a stream of events has come: what is new in it, and where its next opening begins. */
final class Position {
  /**
   * What is known of a stream beforehand.
   *
   * @param untilTurnComplete it ends with a turn
   * @param oneTurn all events are of one turn; its id comes with the first
   * @param fromNow one agent, from now: {@code started} says which sequence that was
   */
  record Scope(boolean untilTurnComplete, boolean oneTurn, boolean fromNow) {}

  private final Scope scope;
  private final Map<String, Long> last = new HashMap<>(); // newest sequence of each log
  private final Map<String, Long> replayed = new HashMap<>(); // logs that may still repeat themselves
  private volatile String cursor; // after this frame
  private volatile String turnId; // the one turn it follows; empty: not known, or any
  private Long afterSequence; // where it began, if it began at "now" on one agent
  private SubscriptionStarted started; // of the newest opening
  private boolean completed; // its one turn has
  private long received;
  private long duplicates;
  private long reconnects;
  private long gaps;
  private long missed;

  Position(Scope scope, String cursor, String turnId) {
    this.scope = scope;
    this.cursor = cursor;
    this.turnId = turnId;
  }

  String cursor() {
    return cursor;
  }

  String turnId() {
    return turnId;
  }

  Long afterSequence() {
    return afterSequence;
  }

  SubscriptionStarted started() {
    return started;
  }

  boolean completed() {
    return completed;
  }

  synchronized Statistics statistics() {
    return new Statistics(received, duplicates, reconnects, gaps, missed);
  }

  /** Notes the position and keeps what is new: events and gaps. The hot path. */
  synchronized List<EventFrame> accept(List<EventFrame> frames) {
    List<EventFrame> fresh = new ArrayList<>(frames.size());
    for (EventFrame frame : frames) {
      if (!frame.getCursor().isEmpty()) {
        cursor = frame.getCursor();
      }
      if (note(frame)) {
        fresh.add(frame);
      }
    }
    return fresh;
  }

  /** Gets ready for the next opening. */
  synchronized void lost(AsterException error) {
    if (cursor.isEmpty() && afterSequence == null) {
      cursor = error.metadata().getOrDefault("cursor", "");
    }
    replayed.clear();
    replayed.putAll(last);
    reconnects++;
  }

  private boolean note(EventFrame frame) {
    switch (frame.getFrameCase()) {
      case EVENT:
        return note(frame.getEvent());
      case GAP:
        gaps++;
        missed += frame.getGap().getDroppedCount();
        return true;
      case STARTED:
        begin(frame.getStarted());
        return false;
      default: // a heartbeat
        return false;
    }
  }

  private boolean note(Event event) {
    String log = event.getAgentId().isEmpty() ? event.getWorkflowRunId() : event.getAgentId();
    // Within one stream the server's order holds; only a resume repeats. So an agent
    // deleted and made anew, from sequence 1, is not taken for a repetition.
    if (!replayed.isEmpty()) {
      if (event.getSequence() <= replayed.getOrDefault(log, 0L)) {
        duplicates++;
        return false;
      }
      replayed.remove(log);
    }
    last.put(log, event.getSequence());
    received++;
    watchTurn(event);
    return true;
  }

  private void begin(SubscriptionStarted opened) {
    if (started != null && !started.getLogEpoch().equals(opened.getLogEpoch())) {
      // Another log, whose sequences begin again: nothing in it is a repetition.
      last.clear();
      replayed.clear();
    }
    if (scope.fromNow() && afterSequence == null) {
      afterSequence = opened.getLatestSequence();
    }
    started = opened;
  }

  private void watchTurn(Event event) {
    if (!scope.untilTurnComplete()) {
      return;
    }
    if (scope.oneTurn() && turnId.isEmpty()) {
      turnId = event.getTurnId();
    }
    boolean ours = turnId.isEmpty() || turnId.equals(event.getTurnId());
    completed |= ours && event.getEventType().equals("progress.complete");
  }
}
