package main

import (
	"fmt"
	"os"
	"strings"

	"google.golang.org/grpc/codes"

	"github.com/asteros/aster-grpc/clients/go/aster"
)

// say prints one line of the transcript.
func say(line string) {
	fmt.Fprintln(os.Stdout, strings.ReplaceAll(line, "\n", `\n`))
}

func sayEither(which bool, yes, no string) {
	if which {
		say(yes)
	} else {
		say(no)
	}
}

func sayEvent(event aster.Event) {
	if event.GetEventType() != "progress.text_chunk" {
		say(strings.Join(append([]string{event.GetEventType()}, more(event)...), " "))
	}
}

func more(event aster.Event) []string {
	progress, control := event.GetProgress(), event.GetControl()
	switch event.GetEventType() {
	case "progress.text_done":
		return []string{progress.GetTextDone().GetText()}
	case "progress.tool_start":
		return []string{progress.GetToolStart().GetCall().GetName()}
	case "progress.tool_end":
		end := progress.GetToolEnd()
		return []string{end.GetResult().GetName(), word(end.GetState(), "TOOL_CALL_STATE_")}
	case "progress.complete":
		complete := progress.GetComplete()
		return []string{word(complete.GetState(), "TURN_STATE_"), word(complete.GetStopReason(), "STOP_REASON_")}
	case "control.tool_approval_request":
		return []string{control.GetToolApprovalRequest().GetCall().GetName()}
	case "control.user_input_request":
		return []string{control.GetUserInputRequest().GetPrompt()}
	case "control.request_resolved":
		return []string{word(control.GetRequestResolved().GetOutcome(), "RESOLUTION_OUTCOME_")}
	}
	return nil
}

// word: STOP_REASON_END_TURN is end_turn.
func word(value fmt.Stringer, prefix string) string {
	return strings.ToLower(strings.TrimPrefix(value.String(), prefix))
}

var codeNames = map[codes.Code]string{
	codes.Canceled: "CANCELLED", codes.Unknown: "UNKNOWN", codes.InvalidArgument: "INVALID_ARGUMENT",
	codes.DeadlineExceeded: "DEADLINE_EXCEEDED", codes.NotFound: "NOT_FOUND", codes.AlreadyExists: "ALREADY_EXISTS",
	codes.PermissionDenied: "PERMISSION_DENIED", codes.ResourceExhausted: "RESOURCE_EXHAUSTED",
	codes.FailedPrecondition: "FAILED_PRECONDITION", codes.Aborted: "ABORTED", codes.OutOfRange: "OUT_OF_RANGE",
	codes.Unimplemented: "UNIMPLEMENTED", codes.Internal: "INTERNAL", codes.Unavailable: "UNAVAILABLE",
	codes.DataLoss: "DATA_LOSS", codes.Unauthenticated: "UNAUTHENTICATED",
}

func errorLine(failure *aster.Error, show []string) string {
	reason := failure.Reason
	if reason == "" {
		reason = "-"
	}
	parts := []string{"error", codeNames[failure.Code], reason}
	for _, key := range show {
		parts = append(parts, key+"="+failure.Metadata[key])
	}
	if len(failure.Violations) > 0 {
		fields := make([]string, 0, len(failure.Violations))
		for _, bad := range failure.Violations {
			fields = append(fields, bad.Field)
		}
		parts = append(parts, "fields="+strings.Join(fields, ","))
	}
	return strings.Join(parts, " ")
}
