package dev.aster.client;

import dev.aster.v1.EventFrame;
import dev.aster.v1.EventFrame.FrameCase;
import dev.aster.v1.SubscriptionStarted;
import java.time.Duration;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.Iterator;
import java.util.List;
import java.util.NoSuchElementException;
import java.util.Optional;
import java.util.concurrent.TimeUnit;
import java.util.function.Function;

/**
 * Events in order, from a stream that survives its connection; one reader at a time.
 *
 * <p>It opens at the first read. The contract ({@code event_service.proto}) is at-least-once from a
 * cursor: this side opens again after UNAVAILABLE and SUBSCRIBER_TOO_SLOW, drops what was delivered
 * before, and throws every other failure as {@link AsterException}. What the <em>server</em> left
 * out arrives as a gap, never silently.
 *
 * <p>Reads block. {@link #close}, from any thread, cancels the RPC and ends the iteration; an
 * interrupted read throws CANCELLED and loses nothing.
 */
public final class Subscription implements Iterator<EventView>, Iterable<EventView>, AutoCloseable {
  private static final long FOREVER = Long.MAX_VALUE / 2;

  private final Transport transport;
  private final Function<Position, FrameReader<?, ?>> open;
  private final Position position;
  private final Backoff backoff = new Backoff();
  private final Deque<EventFrame> ready = new ArrayDeque<>();
  private String handedOut; // cursor of the last event that the reader has
  private int failures;
  private long pauseUntil = System.nanoTime();
  private volatile FrameReader<?, ?> reader;
  private volatile boolean closed;

  Subscription(Transport transport, Position position, Function<Position, FrameReader<?, ?>> open) {
    this.transport = transport;
    this.position = position;
    this.open = open;
    this.handedOut = position.cursor();
  }

  /** Waits for the next event or gap; false at the end, which only a turn that was waited for has. */
  @Override
  public boolean hasNext() {
    return fill(FOREVER);
  }

  @Override
  public EventView next() {
    if (!fill(FOREVER)) {
      throw new NoSuchElementException("the subscription has ended");
    }
    return handOut();
  }

  /** The next event or gap if it comes within this time; also empty at the end. */
  public Optional<EventView> poll(Duration limit) {
    return fill(limit.toNanos()) ? Optional.of(handOut()) : Optional.empty();
  }

  /**
   * The same events and gaps as raw frames, as many at once as have come: for speed. An empty list
   * is the end.
   */
  public List<EventFrame> nextBatch() {
    fill(FOREVER);
    List<EventFrame> batch = List.copyOf(ready);
    ready.clear();
    return batch;
  }

  /**
   * Waits until the server has the subscription in place: no event after that is missed. Returns
   * what the newest opening said of the log; empty when the stream ended before.
   */
  public Optional<SubscriptionStarted> awaitStarted() {
    while (position.started() == null && !closed) {
      read(FOREVER);
    }
    return Optional.ofNullable(position.started());
  }

  @Override
  public Iterator<EventView> iterator() {
    return this;
  }

  /** A subscription with this cursor goes on after the last event that was read. */
  public String cursor() {
    return ready.isEmpty() ? position.cursor() : handedOut;
  }

  /** The turn it follows; on a stream empty until the first event. */
  public String turnId() {
    return position.turnId();
  }

  /** Counters so far. */
  public Statistics statistics() {
    return position.statistics();
  }

  /** Cancels the RPC and ends the iteration; twice is fine. */
  @Override
  public void close() {
    closed = true;
    FrameReader<?, ?> current = reader;
    if (current != null) {
      current.cancel();
    }
  }

  private EventView handOut() {
    EventFrame frame = ready.remove();
    if (!frame.getCursor().isEmpty()) {
      handedOut = frame.getCursor();
    }
    return new EventView(frame);
  }

  /** Whether there is something to hand out within this time. */
  private boolean fill(long nanos) {
    long begin = System.nanoTime();
    long left = nanos;
    while (ready.isEmpty() && !closed && left >= 0) {
      read(left);
      left = nanos - (System.nanoTime() - begin);
    }
    return !ready.isEmpty();
  }

  /** One message, one recovery, or the time is over: maybe nothing new. */
  private void read(long nanos) {
    try {
      if (reader == null && !opened(nanos)) {
        return;
      }
      List<EventFrame> frames = reader.take(nanos);
      if (frames == FrameReader.END) {
        closed = true;
      } else if (frames != null) {
        accept(frames);
      }
    } catch (InterruptedException e) {
      throw Transport.interrupted();
    } catch (AsterException error) {
      recover(error);
    }
  }

  private boolean opened(long nanos) throws InterruptedException {
    long pause = pauseUntil - System.nanoTime();
    TimeUnit.NANOSECONDS.sleep(Math.min(pause, nanos));
    if (pause > nanos) {
      return false;
    }
    reader = open.apply(position);
    if (closed) { // meanwhile, by another thread that may not have seen the new RPC
      reader.cancel();
    }
    return true;
  }

  private void accept(List<EventFrame> frames) {
    handedOut = position.cursor();
    ready.addAll(position.accept(frames));
    if (frames.stream().anyMatch(frame -> frame.getFrameCase() != FrameCase.STARTED)) {
      backoff.reset();
    }
  }

  private void recover(AsterException error) {
    reader = null;
    closed |= transport.isClosed() || position.completed(); // completed: only the OK was lost
    if (closed) {
      return;
    }
    failures++;
    boolean hopeless = position.started() == null && failures >= Transport.TRIES;
    if (hopeless || !error.isResumable()) {
      closed = true;
      throw error;
    }
    position.lost(error);
    pauseUntil = System.nanoTime() + backoff.next(error);
    transport.connectNow();
  }
}
