package aster

import (
	"context"
	"errors"
	"io"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	asterv1 "github.com/asteros/aster-grpc/clients/go/aster/v1"
)

// opening is what one call of a fake server gives: messages, then an error.
type opening struct {
	messages [][]*asterv1.EventFrame
	end      error
}

// server plays its openings and notes where each one began.
type server struct {
	openings []opening
	begun    []position
}

func (s *server) open(_ context.Context, from *position) (receive, error) {
	s.begun = append(s.begun, *from)
	if len(s.openings) == 0 {
		return nil, status.Error(codes.Unavailable, "nobody there")
	}
	now := s.openings[0]
	s.openings = s.openings[1:]
	return func() ([]*asterv1.EventFrame, error) {
		if len(now.messages) == 0 {
			return nil, now.end
		}
		message := now.messages[0]
		now.messages = now.messages[1:]
		return message, nil
	}, nil
}

func started(epoch string, latest int64) *asterv1.EventFrame {
	return &asterv1.EventFrame{Frame: &asterv1.EventFrame_Started{
		Started: &asterv1.SubscriptionStarted{LogEpoch: epoch, LatestSequence: latest},
	}}
}

func event(sequence int64, cursor string) *asterv1.EventFrame {
	return &asterv1.EventFrame{Cursor: cursor, Frame: &asterv1.EventFrame_Event{
		Event: &asterv1.Event{AgentId: "a", Sequence: sequence, EventType: "progress.text_chunk", TurnId: "t"},
	}}
}

func heartbeat(cursor string) *asterv1.EventFrame {
	return &asterv1.EventFrame{Cursor: cursor, Frame: &asterv1.EventFrame_Heartbeat{Heartbeat: &asterv1.Heartbeat{}}}
}

func refusal(code codes.Code, reason string, facts map[string]string) error {
	described, err := status.New(code, "no").WithDetails(&errdetails.ErrorInfo{Reason: reason, Metadata: facts})
	if err != nil {
		panic(err)
	}
	return described.Err()
}

var gone = status.Error(codes.Unavailable, "gone")

func sequences(t *testing.T, s *Subscription) ([]int64, error) {
	t.Helper()
	var seen []int64
	for {
		event, err := s.Recv()
		if err != nil {
			return seen, err
		}
		seen = append(seen, event.GetSequence())
	}
}

func same(a, b []int64) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

func TestResumesFromTheNewestCursorWithoutRepetition(t *testing.T) {
	fake := &server{openings: []opening{
		{[][]*asterv1.EventFrame{{started("e", 0)}, {event(1, "c1"), event(2, "c2")}, {heartbeat("c9")}}, gone},
		{[][]*asterv1.EventFrame{{started("e", 2)}, {event(2, "c2"), event(3, "c3")}}, io.EOF},
	}}
	events := newSubscription(context.Background(), source{open: fake.open}, position{})
	seen, err := sequences(t, events)
	if !errors.Is(err, io.EOF) || !same(seen, []int64{1, 2, 3}) {
		t.Fatal(seen, err)
	}
	if fake.begun[1].cursor != "c9" {
		t.Fatal("a heartbeat's cursor counts too:", fake.begun[1].cursor)
	}
	if stats := events.Stats(); stats != (Stats{Received: 3, Duplicates: 1, Reconnects: 1}) {
		t.Fatal(stats)
	}
}

func TestAnotherLogBeginsAgain(t *testing.T) {
	fake := &server{openings: []opening{
		{[][]*asterv1.EventFrame{{started("old", 0)}, {event(1, "c1"), event(2, "c2")}}, gone},
		{[][]*asterv1.EventFrame{{started("new", 0)}, {event(1, "n1")}}, io.EOF},
	}}
	seen, _ := sequences(t, newSubscription(context.Background(), source{open: fake.open}, position{}))
	if !same(seen, []int64{1, 2, 1}) {
		t.Fatal(seen)
	}
}

func TestBeginsAtTheSequenceOfStartedBeforeAnyCursor(t *testing.T) {
	fake := &server{openings: []opening{
		{[][]*asterv1.EventFrame{{started("e", 7)}}, gone},
		{[][]*asterv1.EventFrame{{started("e", 9)}, {event(8, "c8")}}, io.EOF},
	}}
	seen, _ := sequences(t, newSubscription(context.Background(), source{open: fake.open, fromNow: true}, position{}))
	if !same(seen, []int64{8}) || *fake.begun[1].sequence != 7 {
		t.Fatal(seen, fake.begun)
	}
}

func TestTooSlowGoesOnFromTheCursorOfTheError(t *testing.T) {
	slow := refusal(codes.ResourceExhausted, "SUBSCRIBER_TOO_SLOW", map[string]string{"cursor": "here"})
	fake := &server{openings: []opening{
		{[][]*asterv1.EventFrame{{started("e", 0)}}, slow},
		{[][]*asterv1.EventFrame{{started("e", 0)}, {event(1, "c1")}}, io.EOF},
	}}
	seen, err := sequences(t, newSubscription(context.Background(), source{open: fake.open}, position{}))
	if !same(seen, []int64{1}) || fake.begun[1].cursor != "here" {
		t.Fatal(seen, err, fake.begun)
	}
}

func TestOtherFailuresEndIt(t *testing.T) {
	expired := refusal(codes.OutOfRange, "EVENT_CURSOR_EXPIRED", nil)
	fake := &server{openings: []opening{{[][]*asterv1.EventFrame{{started("e", 0)}}, expired}}}
	events := newSubscription(context.Background(), source{open: fake.open}, position{})
	for range 2 { // it stays ended
		if _, err := events.Recv(); Reason(err) != "EVENT_CURSOR_EXPIRED" {
			t.Fatal(err)
		}
	}
}

func TestGivesUpWhereNobodyEverAnswered(t *testing.T) {
	fake := &server{}
	_, err := newSubscription(context.Background(), source{open: fake.open}, position{}).Recv()
	if status.Code(err) != codes.Unavailable || len(fake.begun) != tries {
		t.Fatal(err, len(fake.begun))
	}
}

func TestAllHasComeAndOnlyTheEndWasLost(t *testing.T) {
	complete := event(1, "c1")
	complete.GetEvent().EventType = "progress.complete"
	fake := &server{openings: []opening{{[][]*asterv1.EventFrame{{started("e", 0)}, {complete}}, gone}}}
	from := source{open: fake.open, untilComplete: true, oneTurn: true}
	seen, err := sequences(t, newSubscription(context.Background(), from, position{}))
	if !errors.Is(err, io.EOF) || !same(seen, []int64{1}) || len(fake.begun) != 1 {
		t.Fatal(seen, err, fake.begun)
	}
}

func TestBatchesStayBatches(t *testing.T) {
	fake := &server{openings: []opening{
		{[][]*asterv1.EventFrame{{started("e", 0), event(1, ""), event(2, "c2")}, {heartbeat("c2")}, {event(3, "c3")}}, io.EOF},
	}}
	events := newSubscription(context.Background(), source{open: fake.open}, position{})
	for _, want := range []int{2, 1} {
		if batch, err := events.RecvBatch(); err != nil || len(batch) != want {
			t.Fatal(batch, err)
		}
	}
}

func TestCancellingTheContextEndsIt(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	fake := &server{openings: []opening{{nil, status.FromContextError(context.Canceled).Err()}}}
	if _, err := newSubscription(ctx, source{open: fake.open}, position{}).Recv(); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
}
