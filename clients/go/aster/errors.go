package aster

import (
	"context"
	"errors"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Violation is one bad field of a request: its path as in the proto, and what is wrong with it.
type Violation struct {
	Field       string
	Description string
}

// Error is the failure of a call, a turn, a tool or a step. Branch on Code and Reason,
// never on the text; error_reason.proto lists the reasons.
//
// errors.Is finds context.DeadlineExceeded and context.Canceled in one of that code.
type Error struct {
	Code       codes.Code
	Message    string
	Reason     string // of ErrorInfo; empty where no server said one: a broken connection
	Metadata   map[string]string
	Violations []Violation
	RetryAfter time.Duration // what the server asks to wait; 0: nothing
	status     *spb.Status
}

func (e *Error) Error() string {
	if e.Reason == "" {
		return e.Message
	}
	return e.Message + " [" + e.Reason + "]"
}

// Unwrap gives the error of package context that has the same meaning, if one has.
func (e *Error) Unwrap() error {
	switch e.Code {
	case codes.DeadlineExceeded:
		return context.DeadlineExceeded
	case codes.Canceled:
		return context.Canceled
	default:
		return nil
	}
}

// GRPCStatus lets package status read it: status.Code(err).
func (e *Error) GRPCStatus() *status.Status {
	return status.FromProto(e.status)
}

// ErrorOf is the error that a Status describes: of a turn, a tool or a step. Nil for nil and for OK.
func ErrorOf(described *spb.Status) error {
	if described.GetCode() == int32(codes.OK) {
		return nil
	}
	return newError(described)
}

// Reason is the reason of the *Error in err's chain; empty where there is none.
func Reason(err error) string {
	var found *Error
	if errors.As(err, &found) {
		return found.Reason
	}
	return ""
}

func newError(described *spb.Status) *Error {
	failure := &Error{
		Code: codes.Code(described.GetCode()), Message: described.GetMessage(),
		Metadata: map[string]string{}, status: described,
	}
	for _, packed := range described.GetDetails() {
		detail, err := packed.UnmarshalNew()
		if err != nil {
			continue // a detail newer than this client
		}
		failure.take(detail)
	}
	return failure
}

func (e *Error) take(detail any) {
	switch detail := detail.(type) {
	case *errdetails.ErrorInfo:
		e.Reason = detail.GetReason()
		if detail.GetMetadata() != nil {
			e.Metadata = detail.GetMetadata()
		}
	case *errdetails.BadRequest:
		for _, bad := range detail.GetFieldViolations() {
			e.Violations = append(e.Violations, Violation{bad.GetField(), bad.GetDescription()})
		}
	case *errdetails.RetryInfo:
		e.RetryAfter = detail.GetRetryDelay().AsDuration()
	}
}

// failed is the *Error of what gRPC returned; nil for nil.
func failed(err error) *Error {
	if err == nil {
		return nil
	}
	var already *Error
	if errors.As(err, &already) {
		return already
	}
	return newError(status.Convert(err).Proto())
}
