package dev.aster.client;

import dev.aster.v1.AgentServiceGrpc;
import dev.aster.v1.AgentServiceGrpc.AgentServiceBlockingStub;
import dev.aster.v1.AgentServiceGrpc.AgentServiceStub;
import dev.aster.v1.ControlServiceGrpc;
import dev.aster.v1.ControlServiceGrpc.ControlServiceBlockingStub;
import dev.aster.v1.EventServiceGrpc;
import dev.aster.v1.EventServiceGrpc.EventServiceStub;
import dev.aster.v1.ServerServiceGrpc;
import dev.aster.v1.ServerServiceGrpc.ServerServiceBlockingStub;
import dev.aster.v1.SessionServiceGrpc;
import dev.aster.v1.SessionServiceGrpc.SessionServiceBlockingStub;
import io.grpc.Channel;
import io.grpc.ClientInterceptors;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.stub.AbstractStub;
import io.grpc.stub.MetadataUtils;
import java.security.SecureRandom;
import java.time.Duration;
import java.util.HexFormat;
import java.util.concurrent.TimeUnit;
import java.util.function.BiFunction;

/** One channel with its stubs, and how calls go over it: key, deadlines, retries. */
final class Transport implements AutoCloseable {
  static final int TRIES = 3;

  private static final Metadata.Key<String> AUTHORIZATION =
      Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER);
  private static final SecureRandom RANDOM = new SecureRandom();

  final Channel channel; // with the key
  final AgentServiceBlockingStub agents;
  final AgentServiceStub agentStreams;
  final ControlServiceBlockingStub control;
  final EventServiceStub events;
  final ServerServiceBlockingStub server;
  final SessionServiceBlockingStub sessions;
  private final ManagedChannel managed;
  private final Duration timeout; // of one short call with its retries

  Transport(ManagedChannel managed, String key, Duration timeout) {
    this.managed = managed;
    this.timeout = timeout;
    this.channel = withKey(managed, key);
    this.agents = AgentServiceGrpc.newBlockingStub(channel);
    this.agentStreams = AgentServiceGrpc.newStub(channel);
    this.control = ControlServiceGrpc.newBlockingStub(channel);
    this.events = EventServiceGrpc.newStub(channel);
    this.server = ServerServiceGrpc.newBlockingStub(channel);
    this.sessions = SessionServiceGrpc.newBlockingStub(channel);
  }

  /** A fresh idempotency key: 128 random bits as hex. */
  static String newRequestId() {
    byte[] bits = new byte[16];
    RANDOM.nextBytes(bits);
    return HexFormat.of().formatHex(bits);
  }

  /** A call without effects, or with a request_id, within the timeout of short calls. */
  <S extends AbstractStub<S>, Q, R> R read(S stub, BiFunction<S, Q, R> method, Q request) {
    return call(stub, method, request, timeout, TRIES);
  }

  /** A call with effects and without a request_id: tried once. */
  <S extends AbstractStub<S>, Q, R> R write(S stub, BiFunction<S, Q, R> method, Q request) {
    return call(stub, method, request, timeout, 1);
  }

  /**
   * One unary call, tried again while the server is UNAVAILABLE; the limit covers all tries, null
   * is none. Interrupting the thread cancels the RPC.
   */
  <S extends AbstractStub<S>, Q, R> R call(
      S stub, BiFunction<S, Q, R> method, Q request, Duration limit, int tries) {
    long begin = System.nanoTime();
    Backoff backoff = new Backoff();
    for (int left = tries; ; ) {
      long spare = limit == null ? Long.MAX_VALUE : limit.toNanos() - (System.nanoTime() - begin);
      try {
        S timed = limit == null ? stub : stub.withDeadlineAfter(spare, TimeUnit.NANOSECONDS);
        return method.apply(timed, request);
      } catch (StatusRuntimeException failure) {
        AsterException error = AsterException.of(failure);
        left--;
        long pause = backoff.next(error);
        if (left == 0 || !error.mayPass() || pause >= spare) {
          throw error;
        }
        sleep(pause);
      }
    }
  }

  /**
   * Lets the channel connect now. Its own pauses between tries, 1 s to 120 s, would tell a caller
   * UNAVAILABLE long after the server is back; the pauses here are {@link Backoff}'s.
   */
  void connectNow() {
    managed.resetConnectBackoff();
  }

  boolean isClosed() {
    return managed.isShutdown();
  }

  @Override
  public void close() {
    managed.shutdownNow();
    try {
      managed.awaitTermination(5, TimeUnit.SECONDS);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  private void sleep(long nanos) {
    connectNow();
    try {
      TimeUnit.NANOSECONDS.sleep(nanos);
    } catch (InterruptedException e) {
      throw interrupted();
    }
  }

  /** Keeps the thread's mark, and says it as gRPC does. */
  static AsterException interrupted() {
    Thread.currentThread().interrupt();
    return AsterException.of(Status.Code.CANCELLED, "the thread was interrupted");
  }

  private static Channel withKey(ManagedChannel channel, String key) {
    if (key.isEmpty()) {
      return channel;
    }
    Metadata headers = new Metadata();
    headers.put(AUTHORIZATION, "Bearer " + key);
    return ClientInterceptors.intercept(channel, MetadataUtils.newAttachHeadersInterceptor(headers));
  }
}
