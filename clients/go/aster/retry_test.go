package aster

import (
	"context"
	"errors"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	asterv1 "github.com/asteros/aster-grpc/clients/go/aster/v1"
)

// call counts how often the interceptor tries a call that always fails so.
func call(t *testing.T, method string, request any, failure error) (int, error) {
	t.Helper()
	count := 0
	invoke := func(context.Context, string, any, any, *grpc.ClientConn, ...grpc.CallOption) error {
		count++
		return failure
	}
	err := unary(10*time.Second)(context.Background(), method, request, nil, nil, invoke)
	return count, err
}

func TestOnlyWhatMayBeRepeatedIs(t *testing.T) {
	get, send := asterv1.AgentService_GetStatus_FullMethodName, asterv1.AgentService_Send_FullMethodName
	failedTurn := refusal(codes.Unavailable, "PROVIDER_UNAVAILABLE", map[string]string{"turn_id": "t"})
	for name, test := range map[string]struct {
		method  string
		request any
		failure error
		want    int
	}{
		"a read":                {get, &asterv1.GetStatusRequest{}, gone, 3},
		"with a request_id":     {send, &asterv1.SendRequest{RequestId: "r"}, gone, 3},
		"without one":           {send, &asterv1.SendRequest{}, gone, 1},
		"a failed turn":         {send, &asterv1.SendRequest{RequestId: "r"}, failedTurn, 1},
		"what the server meant": {get, &asterv1.GetStatusRequest{}, refusal(codes.NotFound, "AGENT_NOT_FOUND", nil), 1},
	} {
		if count, err := call(t, test.method, test.request, test.failure); count != test.want || err == nil {
			t.Error(name, count, err)
		}
	}
}

func TestErrorsSayWhatTheServerSaid(t *testing.T) {
	err := error(failed(refusal(codes.NotFound, "AGENT_NOT_FOUND", map[string]string{"agent_id": "x"})))
	var failure *Error
	if !errors.As(err, &failure) || failure.Metadata["agent_id"] != "x" || Reason(err) != "AGENT_NOT_FOUND" {
		t.Fatal(err)
	}
	if status.Code(err) != codes.NotFound {
		t.Fatal("package status cannot read it")
	}
	if !errors.Is(failed(status.Error(codes.DeadlineExceeded, "late")), context.DeadlineExceeded) {
		t.Fatal("not a deadline")
	}
}

func TestPausesGrowAndBeginAgain(t *testing.T) {
	var between pauses
	for range 20 {
		if pause := between.next(time.Second); pause < time.Second || pause > time.Second+longestWait {
			t.Fatal(pause)
		}
	}
	between.reset()
	if pause := between.next(0); pause > firstPause {
		t.Fatal(pause)
	}
}
