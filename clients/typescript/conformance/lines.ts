// The lines of the transcript, as clients/conformance/README.md says.
import { word, type AsterError, type EventView } from "@asteros/client";
import { StopReasonSchema, TurnStateSchema } from "@asteros/client/v1/agent";
import { ToolCallStateSchema } from "@asteros/client/v1/common";
import { ResolutionOutcomeSchema } from "@asteros/client/v1/event";

export function say(line: string): void {
  process.stdout.write(line.replaceAll("\n", "\\n") + "\n");
}

export function sayEvent(event: EventView): void {
  if (event.type !== "progress.text_chunk") {
    say([event.type, ...more(event)].join(" "));
  }
}

function more({ payload }: EventView): string[] {
  switch (payload?.case) {
    case "textDone":
      return [payload.value.text];
    case "toolStart":
      return [payload.value.call?.name ?? ""];
    case "toolEnd":
      return [payload.value.result?.name ?? "", word(ToolCallStateSchema, payload.value.state)];
    case "complete":
      return [word(TurnStateSchema, payload.value.state), word(StopReasonSchema, payload.value.stopReason)];
    case "toolApprovalRequest":
      return [payload.value.call?.name ?? ""];
    case "userInputRequest":
      return [payload.value.prompt];
    case "requestResolved":
      return [word(ResolutionOutcomeSchema, payload.value.outcome)];
    default:
      return [];
  }
}

export function sayError(error: AsterError, show: string[] = []): void {
  const parts = ["error", error.codeName, error.reason || "-"];
  parts.push(...show.map((key) => `${key}=${error.metadata[key] ?? ""}`));
  if (error.violations.length > 0) {
    parts.push("fields=" + error.violations.map((violation) => violation.field).join(","));
  }
  say(parts.join(" "));
}
