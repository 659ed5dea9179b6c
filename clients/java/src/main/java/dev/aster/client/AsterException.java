package dev.aster.client;

import com.google.protobuf.Any;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.protobuf.Message;
import com.google.rpc.BadRequest;
import com.google.rpc.ErrorInfo;
import com.google.rpc.RetryInfo;
import io.grpc.Metadata;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * A call, a turn or a tool failed.
 *
 * <p>Branch on {@link #code} and {@link #reason}, never on the text; {@code error_reason.proto}
 * lists the reasons, each with an example.
 */
public final class AsterException extends RuntimeException {
  private static final Metadata.Key<byte[]> DETAILS =
      Metadata.Key.of("grpc-status-details-bin", Metadata.BINARY_BYTE_MARSHALLER);

  private final transient Status.Code code;
  private final transient ErrorInfo info;
  private final transient List<Violation> violations;
  private final transient Duration retryAfter;

  /**
   * One bad field of a request.
   *
   * @param field its path as in the proto
   * @param description what is wrong with it
   */
  public record Violation(String field, String description) {}

  private AsterException(Status.Code code, String message, com.google.rpc.Status status, Throwable cause) {
    super(message.isEmpty() ? code.name() : message, cause);
    this.code = code;
    this.info = detail(status, ErrorInfo.class).orElse(ErrorInfo.getDefaultInstance());
    this.violations =
        detail(status, BadRequest.class).map(BadRequest::getFieldViolationsList).orElse(List.of()).stream()
            .map(one -> new Violation(one.getField(), one.getDescription()))
            .toList();
    this.retryAfter =
        detail(status, RetryInfo.class)
            .map(RetryInfo::getRetryDelay)
            .map(delay -> Duration.ofSeconds(delay.getSeconds(), delay.getNanos()))
            .orElse(null);
  }

  /** The error of a turn, a tool or a step. */
  public static AsterException of(com.google.rpc.Status status) {
    return new AsterException(codeOf(status.getCode()), status.getMessage(), status, null);
  }

  /** The error of a failed call of a generated stub. Details that cannot be read leave code and text. */
  public static AsterException of(Throwable failure) {
    if (failure instanceof AsterException known) {
      return known;
    }
    Status status = Status.fromThrowable(failure);
    Metadata trailers = Status.trailersFromThrowable(failure);
    com.google.rpc.Status details = parse(trailers == null ? null : trailers.get(DETAILS));
    String text = status.getDescription() == null ? "" : status.getDescription();
    String message = details.getMessage().isEmpty() ? text : details.getMessage();
    // The trailer's own code is the one that every proxy and retry saw.
    return new AsterException(status.getCode(), message, details, failure);
  }

  static AsterException of(Status.Code code, String message) {
    return of(new StatusRuntimeException(code.toStatus().withDescription(message)));
  }

  /** The gRPC code. */
  public Status.Code code() {
    return code;
  }

  /** The stable name of the cause; empty when no server said one: a broken connection. */
  public String reason() {
    return info.getReason();
  }

  /** Facts of the cause. */
  public Map<String, String> metadata() {
    return info.getMetadataMap();
  }

  /** All bad fields of the request. */
  public List<Violation> violations() {
    return violations;
  }

  /** What the server asks to wait. */
  public Optional<Duration> retryAfter() {
    return Optional.ofNullable(retryAfter);
  }

  /** Whether the same call may succeed a moment later. */
  boolean mayPass() {
    // A failed turn is UNAVAILABLE too when its provider was: the same request_id
    // would only be told the same again.
    return code == Status.Code.UNAVAILABLE && !metadata().containsKey("turn_id");
  }

  /** Whether a subscription opens again after it. */
  boolean isResumable() {
    return code == Status.Code.UNAVAILABLE
        || code == Status.Code.RESOURCE_EXHAUSTED && reason().equals("SUBSCRIBER_TOO_SLOW");
  }

  @Override
  public String toString() {
    return reason().isEmpty() ? getMessage() : getMessage() + " [" + reason() + "]";
  }

  private static Status.Code codeOf(int number) {
    return Status.fromCodeValue(number).getCode();
  }

  private static com.google.rpc.Status parse(byte[] packed) {
    try {
      return packed == null ? com.google.rpc.Status.getDefaultInstance() : com.google.rpc.Status.parseFrom(packed);
    } catch (InvalidProtocolBufferException e) {
      return com.google.rpc.Status.getDefaultInstance();
    }
  }

  private static <T extends Message> Optional<T> detail(com.google.rpc.Status status, Class<T> kind) {
    for (Any packed : status.getDetailsList()) {
      if (packed.is(kind)) {
        try {
          return Optional.of(packed.unpack(kind));
        } catch (InvalidProtocolBufferException e) {
          return Optional.empty();
        }
      }
    }
    return Optional.empty();
  }
}
