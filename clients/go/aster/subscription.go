package aster

import (
	"context"
	"errors"
	"io"
	"sync"

	asterv1 "github.com/asteros/aster-grpc/clients/go/aster/v1"
)

// Event is one event of a subscription, or a gap between events: then Gap is set and the
// Event empty.
type Event struct {
	*asterv1.Event
	Gap *asterv1.EventGap
	// Cursor subscribes from here: what comes after this event.
	Cursor string
}

// Stats counts what one subscription has seen since it was made.
type Stats struct {
	Received   int // events handed out or waiting
	Duplicates int // events dropped because they had come before
	Reconnects int // times the stream was opened again
	Gaps       int // gap frames
	Missed     int // events those gaps named
}

// Subscription is a stream of events that survives its connection: after UNAVAILABLE and
// SUBSCRIBER_TOO_SLOW it opens again from its cursor, and drops what had come before. Every
// other failure ends it. What the server left out for a slow reader arrives as a gap.
//
// One goroutine reads, by Recv, RecvBatch or Events. Close it, or cancel its context, to end
// the call.
type Subscription struct {
	ctx    context.Context
	cancel context.CancelFunc
	source source
	from   position

	receive   receive
	ready     []*asterv1.EventFrame
	seen      string // cursor of the newest event that Recv returned
	last      map[string]int64
	replayed  map[string]int64 // logs that may still repeat themselves after a resume
	between   pauses
	failures  int
	epoch     string
	started   bool
	completed bool
	err       error

	mutex sync.Mutex
	stats Stats
	ended error
}

// Ready waits until the server has the subscription in place: no later event is missed.
func (s *Subscription) Ready() error {
	for !s.started && s.err == nil {
		s.fetch()
	}
	if s.err != nil && !errors.Is(s.err, io.EOF) {
		return s.err
	}
	return nil
}

// RecvBatch returns the frames that have come with one message, at least one, each an event
// or a gap. io.EOF at the end, an *Error after a failure.
func (s *Subscription) RecvBatch() ([]*asterv1.EventFrame, error) {
	for len(s.ready) == 0 {
		if s.err != nil {
			return nil, s.err
		}
		s.fetch()
	}
	batch := s.ready
	s.ready = nil
	s.seen = s.from.cursor
	return batch, nil
}

// Recv returns the next event or gap. io.EOF at the end, an *Error after a failure.
func (s *Subscription) Recv() (Event, error) {
	for len(s.ready) == 0 {
		if s.err != nil {
			return Event{}, s.err
		}
		s.fetch()
	}
	frame := s.ready[0]
	s.ready = s.ready[1:]
	if frame.GetCursor() != "" {
		s.seen = frame.GetCursor()
	}
	return Event{Event: frame.GetEvent(), Gap: frame.GetGap(), Cursor: s.seen}, nil
}

// Events hands the events to a channel that closes at the end; Err then says why. Call it
// once, and stop reading only by Close or by the context.
func (s *Subscription) Events() <-chan Event {
	events := make(chan Event)
	go func() {
		defer close(events)
		for {
			event, err := s.Recv()
			if err != nil {
				s.mutex.Lock()
				s.ended = err
				s.mutex.Unlock()
				return
			}
			select {
			case events <- event:
			case <-s.ctx.Done():
				return
			}
		}
	}()
	return events
}

// Err is why the channel of Events closed; nil after the end of the stream and after Close.
func (s *Subscription) Err() error {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if errors.Is(s.ended, io.EOF) {
		return nil
	}
	return s.ended
}

// Stats is what was counted so far.
func (s *Subscription) Stats() Stats {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return s.stats
}

// Close ends the call; twice is fine.
func (s *Subscription) Close() { s.cancel() }
