package dev.aster.client;

import com.google.protobuf.Descriptors.FieldDescriptor;
import com.google.protobuf.Message;
import dev.aster.v1.Event;
import dev.aster.v1.EventFrame;
import dev.aster.v1.OutcomeUnknown;
import dev.aster.v1.TextChunk;
import dev.aster.v1.ToolApprovalRequest;
import dev.aster.v1.ToolCall;
import dev.aster.v1.ToolStart;
import java.util.Optional;

/**
 * An event, or a gap between events, of a subscription.
 *
 * <pre>{@code
 * if (event.payload() instanceof TextChunk chunk) System.out.print(chunk.getDelta());
 * }</pre>
 *
 * <p>Where the events of a slow subscriber were left out stands a gap: the texts of an event are
 * empty there, its sequence is 0 and the payload is the EventGap.
 *
 * @param frame the frame as it came
 */
public record EventView(EventFrame frame) {
  /** The event as it came; an empty one on a gap. */
  public Event event() {
    return frame.getEvent();
  }

  /** Events were left out here because this subscriber was too slow. */
  public boolean isGap() {
    return frame.hasGap();
  }

  /** Subscribe from here to go on after this event; empty where that is not possible. */
  public String cursor() {
    return frame.getCursor();
  }

  /** ULID; for a request on the control channel the pending_id to answer. */
  public String id() {
    return event().getId();
  }

  /** Position in the agent's log, from 1. */
  public long sequence() {
    return event().getSequence();
  }

  /** The agent it is of; empty for an event of a workflow run. */
  public String agentId() {
    return isGap() ? frame.getGap().getAgentId() : event().getAgentId();
  }

  /** The turn it is of, if any. */
  public String turnId() {
    return event().getTurnId();
  }

  /** {@code <channel>.<kind>}, for example "progress.text_chunk"; "gap" for a gap. */
  public String type() {
    return isGap() ? "gap" : event().getEventType();
  }

  /** Second half of the type; set also where this client does not know it. */
  public String kind() {
    return type().substring(type().lastIndexOf('.') + 1);
  }

  /** The kind's message, for {@code instanceof}; null for a kind newer than this client. */
  public Message payload() {
    return switch (event().getPayloadCase()) {
      case PROGRESS -> kindOf(event().getProgress());
      case CONTROL -> kindOf(event().getControl());
      case MONITOR -> kindOf(event().getMonitor());
      case PAYLOAD_NOT_SET -> isGap() ? frame.getGap() : null;
    };
  }

  /** Text to append to the answer; empty for every other kind. */
  public String textDelta() {
    return payload() instanceof TextChunk chunk ? chunk.getDelta() : "";
  }

  /** The call of tool_start, tool_approval_request and outcome_unknown. */
  public Optional<ToolCall> toolCall() {
    Message payload = payload();
    if (payload instanceof ToolStart start) {
      return Optional.of(start.getCall());
    }
    if (payload instanceof ToolApprovalRequest request) {
      return Optional.of(request.getCall());
    }
    return payload instanceof OutcomeUnknown unknown ? Optional.of(unknown.getCall()) : Optional.empty();
  }

  /** Why a tool, a turn, a model call or a workflow failed. */
  public Optional<AsterException> error() {
    Message payload = payload();
    FieldDescriptor field = payload == null ? null : payload.getDescriptorForType().findFieldByName("error");
    if (field == null || !payload.hasField(field)) {
      return Optional.empty();
    }
    return Optional.of(AsterException.of((com.google.rpc.Status) payload.getField(field)));
  }

  private static Message kindOf(Message body) {
    FieldDescriptor kind = body.getOneofFieldDescriptor(body.getDescriptorForType().getOneofs().get(0));
    return kind == null ? null : (Message) body.getField(kind);
  }
}
