package aster

import (
	"context"
	"slices"

	"google.golang.org/protobuf/proto"

	asterv1 "github.com/asteros/aster-grpc/clients/go/aster/v1"
)

// Agent is a handle on one agent of the server. Safe for use by many goroutines: an agent
// runs one turn at a time and queues the others.
type Agent struct {
	ID     string
	Info   *asterv1.Agent // as the server described it when it was created; else nil
	client *Client
}

// Chat runs a turn and returns its end. It waits as long as the turn takes, people included,
// unless ctx ends: that interrupts the turn, if disconnect_policy is not CONTINUE. A failed
// turn is an *Error with turn_id in its metadata.
func (a *Agent) Chat(
	ctx context.Context, text string, with ...func(*asterv1.ChatRequest),
) (*asterv1.ChatResponse, error) {
	request := &asterv1.ChatRequest{AgentId: a.ID, Message: text, RequestId: NewRequestID()}
	for _, change := range with {
		change(request)
	}
	return a.client.agents.Chat(ctx, request)
}

// Send stores the message; the turn goes on by itself. Subscribing from the response's
// cursor misses none of its events.
func (a *Agent) Send(
	ctx context.Context, text string, with ...func(*asterv1.SendRequest),
) (*asterv1.SendResponse, error) {
	request := &asterv1.SendRequest{AgentId: a.ID, Message: text, RequestId: NewRequestID()}
	for _, change := range with {
		change(request)
	}
	return a.client.agents.Send(ctx, request)
}

// Stream runs a turn and follows its events up to progress.complete, which tells of a failed
// turn too. Where the server ends the stream early it goes on by Subscribe. Closing it or
// cancelling ctx interrupts the turn, if disconnect_policy is not CONTINUE.
func (a *Agent) Stream(ctx context.Context, text string, with ...func(*asterv1.StreamRequest)) *Subscription {
	request := &asterv1.StreamRequest{AgentId: a.ID, Message: text, RequestId: NewRequestID()}
	for _, change := range with {
		change(request)
	}
	open := func(ctx context.Context, from *position) (receive, error) {
		if from.turnID == "" || from.cursor == "" {
			// Nothing of the turn was seen: the same request_id streams it from its beginning.
			return frames(a.client.agents.Stream(ctx, request))
		}
		return frames(a.client.events.Subscribe(ctx, &asterv1.SubscribeRequest{
			AgentId: a.ID, TurnId: from.turnID, Channels: request.GetChannels(), UntilTurnComplete: true,
			StartFrom: &asterv1.SubscribeRequest_Cursor{Cursor: from.cursor},
		}))
	}
	return newSubscription(ctx, source{open: open, untilComplete: true, oneTurn: true}, position{})
}

// Subscribe follows this agent's events; agent_id of the request is set. Nil: all, from now on.
func (a *Agent) Subscribe(ctx context.Context, request *asterv1.SubscribeRequest) *Subscription {
	mine := &asterv1.SubscribeRequest{}
	proto.Merge(mine, request)
	mine.AgentId = a.ID
	return subscribe(ctx, a.client, mine)
}

// Approve allows or denies one tool call. FAILED_PRECONDITION, REQUEST_ALREADY_RESOLVED, when
// somebody decided otherwise; the same decision twice is fine.
func (a *Agent) Approve(
	ctx context.Context, pendingID string, allow bool, with ...func(*asterv1.ApproveToolCallRequest),
) error {
	request := &asterv1.ApproveToolCallRequest{AgentId: a.ID, PendingId: pendingID, Decision: decision(allow)}
	for _, change := range with {
		change(request)
	}
	_, err := a.client.control.ApproveToolCall(ctx, request)
	return err
}

// Respond answers a question with text.
func (a *Agent) Respond(ctx context.Context, pendingID, text string) error {
	return a.answer(ctx, &asterv1.RespondToInputRequestRequest{PendingId: pendingID, Text: text})
}

// RespondOptions answers a question with options, counted from 0. None: no answer, and the
// agent is told so.
func (a *Agent) RespondOptions(ctx context.Context, pendingID string, indexes ...int32) error {
	return a.answer(ctx, &asterv1.RespondToInputRequestRequest{
		PendingId: pendingID, OptionIndexes: slices.Clone(indexes), Dismiss: len(indexes) == 0,
	})
}

func (a *Agent) answer(ctx context.Context, request *asterv1.RespondToInputRequestRequest) error {
	request.AgentId = a.ID
	_, err := a.client.control.RespondToInputRequest(ctx, request)
	return err
}

// RespondToIterationLimit lets a turn go on past its iteration limit, or ends it.
func (a *Agent) RespondToIterationLimit(ctx context.Context, pendingID string, allow bool) error {
	_, err := a.client.control.RespondToIterationLimit(ctx, &asterv1.RespondToIterationLimitRequest{
		AgentId: a.ID, PendingId: pendingID, Decision: decision(allow),
	})
	return err
}

// Status is state and counters; it does not wake the agent.
func (a *Agent) Status(ctx context.Context) (*asterv1.AgentStatus, error) {
	response, err := a.client.agents.GetStatus(ctx, &asterv1.GetStatusRequest{AgentId: a.ID})
	return response.GetStatus(), err
}

// Interrupt stops the named turn, or with an empty turnID the current one, and returns it
// when it has ended.
func (a *Agent) Interrupt(ctx context.Context, turnID string) (*asterv1.Turn, error) {
	response, err := a.client.agents.Interrupt(ctx, &asterv1.InterruptRequest{AgentId: a.ID, TurnId: turnID})
	return response.GetTurn(), err
}

// Close closes the agent for good; its history stays.
func (a *Agent) Close(ctx context.Context) error {
	_, err := a.client.agents.CloseAgent(ctx, &asterv1.CloseAgentRequest{AgentId: a.ID})
	return err
}

func decision(allow bool) asterv1.Decision {
	if allow {
		return asterv1.Decision_DECISION_ALLOW
	}
	return asterv1.Decision_DECISION_DENY
}
