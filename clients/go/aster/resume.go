package aster

import (
	"context"
	"errors"
	"io"
	"maps"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	asterv1 "github.com/asteros/aster-grpc/clients/go/aster/v1"
)

// receive gives the frames of the next message.
type receive func() ([]*asterv1.EventFrame, error)

// frames reads a stream of any of the messages that carry frames.
func frames[M interface{ GetFrames() []*asterv1.EventFrame }](
	stream interface{ Recv() (M, error) }, err error,
) (receive, error) {
	if err != nil {
		return nil, err
	}
	return func() ([]*asterv1.EventFrame, error) {
		message, err := stream.Recv()
		if err != nil {
			return nil, err
		}
		return message.GetFrames(), nil
	}, nil
}

// position: how far a stream has come, and so where its next opening begins.
type position struct {
	cursor   string
	turnID   string // the one turn it follows; empty: not known, or any
	sequence *int64 // where it began, if that was now, on one agent
}

type source struct {
	open          func(context.Context, *position) (receive, error)
	untilComplete bool
	oneTurn       bool // all events are of one turn; its id comes with the first
	fromNow       bool // one agent, from now on: started says which sequence that was
}

func newSubscription(ctx context.Context, from source, at position) *Subscription {
	ctx, cancel := context.WithCancel(ctx)
	return &Subscription{
		ctx: ctx, cancel: cancel, source: from, from: at, seen: at.cursor,
		last: map[string]int64{}, replayed: map[string]int64{},
	}
}

func subscribe(ctx context.Context, client *Client, request *asterv1.SubscribeRequest) *Subscription {
	open := func(ctx context.Context, from *position) (receive, error) {
		again := &asterv1.SubscribeRequest{}
		proto.Merge(again, request)
		switch {
		case from.cursor != "":
			again.StartFrom = &asterv1.SubscribeRequest_Cursor{Cursor: from.cursor}
		case from.sequence != nil:
			again.StartFrom = &asterv1.SubscribeRequest_AfterSequence{AfterSequence: *from.sequence}
		}
		return frames(client.events.Subscribe(ctx, again))
	}
	return newSubscription(ctx, source{
		open:          open,
		untilComplete: request.GetUntilTurnComplete(),
		// Only where one agent is named does started carry a sequence to go on from.
		fromNow: request.GetAgentId() != "" && len(request.GetAgentIds()) == 0 && startsNow(request),
	}, position{cursor: request.GetCursor(), turnID: request.GetTurnId()})
}

func startsNow(request *asterv1.SubscribeRequest) bool {
	switch start := request.GetStartFrom().(type) {
	case nil:
		return true
	case *asterv1.SubscribeRequest_Position:
		return start.Position != asterv1.StartPosition_START_POSITION_EARLIEST
	default:
		return false
	}
}

// fetch takes one message or recovers once; afterwards there may be frames, or err is set.
func (s *Subscription) fetch() {
	message, err := s.read()
	switch {
	case err == nil:
		s.accept(message)
	case errors.Is(err, io.EOF) || s.completed: // all has come; at most the OK was lost
		s.finish(io.EOF)
	default:
		s.recover(failed(err))
	}
}

func (s *Subscription) read() ([]*asterv1.EventFrame, error) {
	if s.receive == nil {
		opened, err := s.source.open(s.ctx, &s.from)
		if err != nil {
			return nil, err
		}
		s.receive = opened
	}
	return s.receive()
}

func (s *Subscription) finish(err error) {
	s.err = err
	s.cancel()
}

func (s *Subscription) recover(failure *Error) {
	s.receive = nil
	s.failures++
	if s.ctx.Err() != nil || !s.started && s.failures >= tries || !resumable(failure) {
		s.finish(failure)
		return
	}
	if s.from.cursor == "" && s.from.sequence == nil {
		s.from.cursor = failure.Metadata["cursor"]
	}
	maps.Copy(s.replayed, s.last)
	s.count(func(stats *Stats) { stats.Reconnects++ })
	if !wait(s.ctx, s.between.next(failure.RetryAfter)) {
		s.finish(failed(status.FromContextError(s.ctx.Err()).Err()))
	}
}

func resumable(failure *Error) bool {
	return failure.Code == codes.Unavailable ||
		failure.Code == codes.ResourceExhausted && failure.Reason == "SUBSCRIBER_TOO_SLOW"
}

// accept notes the position and keeps what is new.
func (s *Subscription) accept(frames []*asterv1.EventFrame) {
	fresh := make([]*asterv1.EventFrame, 0, len(frames))
	for _, frame := range frames {
		if s.isNew(frame) {
			fresh = append(fresh, frame)
		}
		if frame.GetCursor() != "" {
			s.from.cursor = frame.GetCursor()
		}
	}
	if len(fresh) > 0 {
		s.between.reset()
	}
	s.ready = fresh
}

func (s *Subscription) isNew(frame *asterv1.EventFrame) bool {
	switch kind := frame.GetFrame().(type) {
	case *asterv1.EventFrame_Event:
		if s.repeated(kind.Event) {
			return false
		}
		s.watchTurn(kind.Event)
		s.count(func(stats *Stats) { stats.Received++ })
		return true
	case *asterv1.EventFrame_Gap:
		s.count(func(stats *Stats) {
			stats.Gaps++
			stats.Missed += int(kind.Gap.GetDroppedCount())
		})
		return true
	case *asterv1.EventFrame_Started:
		s.begin(kind.Started)
	case *asterv1.EventFrame_Heartbeat:
		s.between.reset()
	}
	return false
}

// repeated: within one stream the server's order holds; only a resume repeats. So an agent
// deleted and made anew, from sequence 1, is not taken for a repetition.
func (s *Subscription) repeated(event *asterv1.Event) bool {
	log := event.GetAgentId()
	if log == "" {
		log = event.GetWorkflowRunId()
	}
	if event.GetSequence() <= s.replayed[log] {
		s.count(func(stats *Stats) { stats.Duplicates++ })
		return true
	}
	delete(s.replayed, log)
	s.last[log] = event.GetSequence()
	return false
}

func (s *Subscription) begin(started *asterv1.SubscriptionStarted) {
	if s.started && s.epoch != started.GetLogEpoch() {
		// Another log, whose sequences begin again: nothing in it is a repetition.
		clear(s.last)
		clear(s.replayed)
	}
	if s.source.fromNow && s.from.sequence == nil {
		latest := started.GetLatestSequence()
		s.from.sequence = &latest
	}
	s.started, s.epoch = true, started.GetLogEpoch()
}

func (s *Subscription) watchTurn(event *asterv1.Event) {
	if !s.source.untilComplete {
		return
	}
	if s.source.oneTurn && s.from.turnID == "" {
		s.from.turnID = event.GetTurnId()
	}
	if event.GetEventType() == "progress.complete" {
		s.completed = s.completed || s.from.turnID == "" || s.from.turnID == event.GetTurnId()
	}
}

func (s *Subscription) count(change func(*Stats)) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	change(&s.stats)
}
