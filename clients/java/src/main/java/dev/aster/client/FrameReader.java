package dev.aster.client;

import dev.aster.v1.EventFrame;
import io.grpc.stub.ClientCallStreamObserver;
import io.grpc.stub.ClientResponseObserver;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;
import java.util.function.Function;

/** The messages of one streaming RPC, in a queue for the thread that reads them. */
final class FrameReader<Q, R> implements ClientResponseObserver<Q, R> {
  /** What {@link #take} returns after the server's OK or {@link #cancel}. */
  static final List<EventFrame> END = Collections.unmodifiableList(new ArrayList<>()); // known by identity

  private static final int AHEAD = 4; // messages that may wait here; the server's buffer has the rest

  private final BlockingQueue<Object> queue = new LinkedBlockingQueue<>(); // lists, failures, END
  private final Function<R, List<EventFrame>> frames;
  private ClientCallStreamObserver<Q> call;

  private FrameReader(Function<R, List<EventFrame>> frames) {
    this.frames = frames;
  }

  static <Q, R> FrameReader<Q, R> open(Consumer<FrameReader<Q, R>> method, Function<R, List<EventFrame>> frames) {
    FrameReader<Q, R> reader = new FrameReader<>(frames);
    method.accept(reader);
    return reader;
  }

  /**
   * The next message's frames; {@link #END} itself at the end; null when the time is over.
   *
   * @param nanos at most this long
   * @throws AsterException when the RPC failed
   */
  List<EventFrame> take(long nanos) throws InterruptedException {
    Object next = queue.poll(nanos, TimeUnit.NANOSECONDS);
    if (next instanceof Throwable failure) {
      throw AsterException.of(failure);
    }
    if (next instanceof Message message) {
      call.request(1);
      return message.frames();
    }
    return next == null ? null : END;
  }

  /** Ends the RPC; from any thread. */
  void cancel() {
    call.cancel("the subscription was closed", null);
    queue.add(END);
  }

  @Override
  public void beforeStart(ClientCallStreamObserver<Q> opened) {
    call = opened;
    call.disableAutoRequestWithInitial(AHEAD);
  }

  @Override
  public void onNext(R response) {
    queue.add(new Message(frames.apply(response)));
  }

  @Override
  public void onError(Throwable failure) {
    queue.add(failure);
  }

  @Override
  public void onCompleted() {
    queue.add(END);
  }

  private record Message(List<EventFrame> frames) {}
}
