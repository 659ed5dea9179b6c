package dev.aster.conformance;

import com.google.protobuf.Message;
import dev.aster.client.AsterException;
import dev.aster.client.AsterException.Violation;
import dev.aster.client.EventView;
import dev.aster.v1.RequestResolved;
import dev.aster.v1.TextDone;
import dev.aster.v1.ToolApprovalRequest;
import dev.aster.v1.ToolEnd;
import dev.aster.v1.ToolStart;
import dev.aster.v1.TurnComplete;
import dev.aster.v1.UserInputRequest;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.stream.Collectors;

/** The lines of the transcript. */
final class Lines {
  private static final PrintStream OUT = new PrintStream(System.out, true, StandardCharsets.UTF_8);
  private static final BufferedReader IN =
      new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));

  private Lines() {}

  /** One line of the transcript, at once. */
  static void say(String line) {
    OUT.print(line.replace("\n", "\\n") + "\n");
    OUT.flush();
  }

  /** Asks the test for something and waits until it is done. */
  static void wish(String what) throws IOException {
    say("! " + what);
    IN.readLine();
  }

  static void sayEvent(EventView event) {
    if (!event.kind().equals("text_chunk")) {
      say(eventLine(event));
    }
  }

  /** An enum's value as a short word. */
  static String word(Enum<?> value, String prefix) {
    String word = value.name().replace(prefix, "").toLowerCase(Locale.ROOT);
    return word.equals("unspecified") ? "" : word;
  }

  static String errorLine(AsterException error, List<String> show) {
    List<String> parts = new ArrayList<>();
    parts.add("error");
    parts.add(error.code().name());
    parts.add(error.reason().isEmpty() ? "-" : error.reason());
    show.forEach(key -> parts.add(key + "=" + error.metadata().getOrDefault(key, "")));
    if (!error.violations().isEmpty()) {
      parts.add("fields=" + error.violations().stream().map(Violation::field).collect(Collectors.joining(",")));
    }
    return String.join(" ", parts);
  }

  private static String eventLine(EventView event) {
    List<String> parts = new ArrayList<>();
    parts.add(event.type());
    parts.addAll(more(event.payload()));
    return String.join(" ", parts);
  }

  private static List<String> more(Message payload) {
    if (payload instanceof TextDone done) {
      return List.of(done.getText());
    }
    if (payload instanceof ToolStart start) {
      return List.of(start.getCall().getName());
    }
    if (payload instanceof ToolEnd end) {
      return List.of(end.getResult().getName(), word(end.getState(), "TOOL_CALL_STATE_"));
    }
    if (payload instanceof TurnComplete turn) {
      return List.of(word(turn.getState(), "TURN_STATE_"), word(turn.getStopReason(), "STOP_REASON_"));
    }
    if (payload instanceof ToolApprovalRequest request) {
      return List.of(request.getCall().getName());
    }
    if (payload instanceof UserInputRequest question) {
      return List.of(question.getPrompt());
    }
    if (payload instanceof RequestResolved resolved) {
      return List.of(word(resolved.getOutcome(), "RESOLUTION_OUTCOME_"));
    }
    return List.of();
  }
}
