package dev.aster.client;

import java.time.Duration;
import java.util.concurrent.ThreadLocalRandom;

/** Pauses with full jitter: a random part of a ceiling that doubles from 0.1 s to 5 s. */
final class Backoff {
  static final long FIRST = Duration.ofMillis(100).toNanos();
  static final long LAST = Duration.ofSeconds(5).toNanos();

  private long ceiling = FIRST;

  /** Nanoseconds to wait now, on top of what the server asked for. */
  long next(AsterException error) {
    long asked = error.retryAfter().map(Duration::toNanos).orElse(0L);
    long pause = asked + ThreadLocalRandom.current().nextLong(ceiling);
    ceiling = Math.min(LAST, ceiling * 2);
    return pause;
  }

  /** Begins again at the first ceiling, after something has worked. */
  void reset() {
    ceiling = FIRST;
  }
}
