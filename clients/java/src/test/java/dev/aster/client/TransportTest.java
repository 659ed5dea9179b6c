package dev.aster.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.protobuf.Any;
import com.google.rpc.BadRequest;
import com.google.rpc.Code;
import com.google.rpc.ErrorInfo;
import com.google.rpc.RetryInfo;
import dev.aster.v1.AgentServiceGrpc.AgentServiceBlockingStub;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.protobuf.StatusProto;
import java.io.IOException;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.BiFunction;
import org.junit.jupiter.api.Test;

class TransportTest {
  private final AtomicInteger asked = new AtomicInteger();

  @Test
  void aRepeatableCallIsTriedThreeTimesAndAnotherOnce() throws IOException {
    try (FakeEvents fake = new FakeEvents()) {
      Transport transport = fake.transport;
      var refuse = refusal(Status.UNAVAILABLE.asRuntimeException());
      assertThrows(AsterException.class, () -> transport.read(transport.agents, refuse, ""));
      assertEquals(3, asked.getAndSet(0));
      assertThrows(AsterException.class, () -> transport.write(transport.agents, refuse, ""));
      assertEquals(1, asked.get());
    }
  }

  @Test
  void aFailedTurnIsNotAskedForAgain() throws IOException {
    ErrorInfo info = ErrorInfo.newBuilder().setReason("PROVIDER_UNAVAILABLE").putMetadata("turn_id", "t").build();
    try (FakeEvents fake = new FakeEvents()) {
      Transport transport = fake.transport;
      var refuse = refusal(failure(Code.UNAVAILABLE, Any.pack(info)));
      assertThrows(AsterException.class, () -> transport.read(transport.agents, refuse, ""));
      assertEquals(1, asked.get());
    }
  }

  @Test
  void readsAllDetailsOfAStatus() {
    AsterException error =
        AsterException.of(
            failure(
                Code.INVALID_ARGUMENT,
                Any.pack(ErrorInfo.newBuilder().setReason("FIELD_VIOLATION").putMetadata("agent_id", "a").build()),
                Any.pack(
                    BadRequest.newBuilder()
                        .addFieldViolations(
                            BadRequest.FieldViolation.newBuilder().setField("tools").setDescription("unknown"))
                        .build()),
                Any.pack(
                    RetryInfo.newBuilder()
                        .setRetryDelay(com.google.protobuf.Duration.newBuilder().setSeconds(2))
                        .build())));
    assertEquals(Status.Code.INVALID_ARGUMENT, error.code());
    assertEquals("no [FIELD_VIOLATION]", error.toString());
    assertEquals("a", error.metadata().get("agent_id"));
    assertEquals(List.of(new AsterException.Violation("tools", "unknown")), error.violations());
    assertEquals(Optional.of(Duration.ofSeconds(2)), error.retryAfter());
  }

  @Test
  void pausesDoubleUpToFiveSeconds() {
    AsterException error = AsterException.of(Status.Code.UNAVAILABLE, "");
    Backoff backoff = new Backoff();
    for (long ceiling = Backoff.FIRST; ceiling < Backoff.LAST; ceiling *= 2) {
      assertTrue(backoff.next(error) < ceiling);
    }
    assertTrue(backoff.next(error) < Backoff.LAST);
    backoff.reset();
    assertTrue(backoff.next(error) < Backoff.FIRST);
  }

  @Test
  void aRequestIdIs32HexDigitsAndNew() {
    String id = Transport.newRequestId();
    assertTrue(id.matches("[0-9a-f]{32}"));
    assertNotEquals(id, Transport.newRequestId());
    assertEquals("mine", Agent.idFor("mine"));
  }

  private BiFunction<AgentServiceBlockingStub, String, String> refusal(StatusRuntimeException failure) {
    return (stub, request) -> {
      asked.incrementAndGet();
      throw failure;
    };
  }

  private static StatusRuntimeException failure(Code code, Any... details) {
    return StatusProto.toStatusRuntimeException(
        com.google.rpc.Status.newBuilder()
            .setCode(code.getNumber())
            .setMessage("no")
            .addAllDetails(List.of(details))
            .build());
  }
}
