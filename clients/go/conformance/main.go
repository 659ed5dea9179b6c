// Command conformance plays the story of clients/conformance with the Go client.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/asteros/aster-grpc/clients/go/aster"
	asterv1 "github.com/asteros/aster-grpc/clients/go/aster/v1"
)

type step struct {
	Name, Do, Needs, Agent, Model, Text, Decide, Save, Cursor, From, Wish, Client string
	Star, Leader, Member                                                          string
	Tools, Ask, Channels, Show                                                    []string
	EventTypes                                                                    []string `json:"event_types"`
	Answer                                                                        []int32
	Count, After                                                                  int
	Seconds                                                                       float64
}

// runner: one client, and the cursors that steps have kept.
type runner struct {
	client  *aster.Client
	cursors map[string]string
	answers *bufio.Reader
}

func main() {
	if err := play(os.Args[1]); err != nil {
		log.Fatal(err)
	}
}

func play(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var scenario struct{ Steps []step }
	if err := json.Unmarshal(text, &scenario); err != nil {
		return err
	}
	client, err := connect()
	if err != nil {
		return err
	}
	defer client.Close()
	story := &runner{client: client, cursors: map[string]string{}, answers: bufio.NewReader(os.Stdin)}
	without := strings.Split(os.Getenv("ASTER_WITHOUT"), ",")
	for _, step := range scenario.Steps {
		if step.Needs != "" && slices.Contains(without, step.Needs) {
			continue
		}
		say("# " + step.Name)
		if err := story.play(context.Background(), step); err != nil {
			var failure *aster.Error
			if !errors.As(err, &failure) {
				return fmt.Errorf("%s: %w", step.Name, err)
			}
			say(errorLine(failure, step.Show))
		}
	}
	return nil
}

func connect(options ...aster.Option) (*aster.Client, error) {
	if file := os.Getenv("ASTER_CA"); file != "" {
		pem, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		options = append(options, aster.WithCA(pem))
	}
	return aster.NewClient(options...)
}

func (r *runner) play(ctx context.Context, step step) error {
	agent := r.client.Agent(step.Agent)
	switch step.Do {
	case "create_agent":
		return r.createAgent(ctx, step)
	case "chat":
		return chat(ctx, agent, step)
	case "stream":
		return stream(ctx, agent, step)
	case "send":
		return r.send(ctx, agent, step)
	case "subscribe":
		return r.subscribe(ctx, agent, step)
	case "resume":
		return r.resume(ctx, agent, step)
	case "batches":
		return batches(ctx, agent)
	case "deadline":
		return deadline(ctx, agent, step)
	case "cancel":
		return cancel(ctx, agent, step)
	case "status":
		return r.status(ctx, step)
	case "star":
		return r.star(ctx, step)
	case "close":
		if err := agent.Close(ctx); err != nil {
			return err
		}
		say("closed")
		return nil
	}
	return fmt.Errorf("no such step: %s", step.Do)
}

func (r *runner) createAgent(ctx context.Context, step step) error {
	config := &asterv1.AgentConfig{
		TemplateId:      "chat",
		ModelConfig:     &asterv1.ModelConfig{Provider: "scripted", Model: step.Model},
		Tools:           step.Tools,
		ToolPermissions: map[string]asterv1.PermissionPolicy{},
	}
	for _, tool := range step.Ask {
		config.ToolPermissions[tool] = asterv1.PermissionPolicy_PERMISSION_POLICY_ASK
	}
	agent, err := r.client.CreateAgent(ctx, config, func(request *asterv1.CreateAgentRequest) {
		request.AgentId = step.Agent
	})
	if err != nil {
		return err
	}
	say("agent " + agent.ID)
	return nil
}

func chat(ctx context.Context, agent *aster.Agent, step step) error {
	reply, err := agent.Chat(ctx, step.Text)
	if err != nil {
		return err
	}
	say("chat " + word(reply.GetTurn().GetStopReason(), "STOP_REASON_") + " " + reply.GetText())
	return nil
}

func stream(ctx context.Context, agent *aster.Agent, step step) error {
	events := agent.Stream(ctx, step.Text, func(request *asterv1.StreamRequest) {
		request.Channels = []asterv1.Channel{asterv1.Channel_CHANNEL_PROGRESS, asterv1.Channel_CHANNEL_CONTROL}
	})
	defer events.Close()
	chunks := map[int32]string{}
	whole := true
	for event := range events.Events() {
		sayEvent(event)
		chunks[event.GetStep()] += event.GetProgress().GetTextChunk().GetDelta()
		var err error
		switch event.GetEventType() {
		case "progress.text_done":
			whole = whole && event.GetProgress().GetTextDone().GetText() == chunks[event.GetStep()]
		case "control.tool_approval_request":
			err = decide(ctx, step, event.GetId())
		case "control.user_input_request":
			err = agent.RespondOptions(ctx, event.GetId(), step.Answer...)
		}
		if err != nil {
			return err
		}
	}
	if whole {
		say("text whole")
	} else {
		say("text broken")
	}
	return events.Err()
}

func decide(ctx context.Context, step step, pendingID string) error {
	second, err := connect()
	if err != nil {
		return err
	}
	defer second.Close()
	for pending, err := range second.PendingApprovals(ctx, step.Agent) {
		if err != nil {
			return err
		}
		if pending.GetId() == pendingID {
			return second.Approve(ctx, pending, step.Decide == "allow")
		}
	}
	return errors.New("the request is not in the inbox")
}

func (r *runner) send(ctx context.Context, agent *aster.Agent, step step) error {
	sent, err := agent.Send(ctx, step.Text)
	if err != nil {
		return err
	}
	r.cursors[step.Save] = sent.GetCursor()
	say("sent")
	return nil
}

func (r *runner) subscribe(ctx context.Context, agent *aster.Agent, step step) error {
	request := r.start(step)
	request.EventTypes = step.EventTypes
	for _, channel := range step.Channels {
		number := asterv1.Channel_value["CHANNEL_"+strings.ToUpper(channel)]
		request.Channels = append(request.Channels, asterv1.Channel(number))
	}
	events := agent.Subscribe(ctx, request)
	defer events.Close()
	for range step.Count {
		event, err := events.Recv()
		if err != nil {
			return err
		}
		sayEvent(event)
		r.cursors[step.Save] = event.Cursor
	}
	return nil
}

func (r *runner) start(step step) *asterv1.SubscribeRequest {
	if step.Cursor != "" {
		cursor := r.cursors[step.Cursor]
		return &asterv1.SubscribeRequest{StartFrom: &asterv1.SubscribeRequest_Cursor{Cursor: cursor}}
	}
	return earliest()
}

func earliest() *asterv1.SubscribeRequest {
	return &asterv1.SubscribeRequest{StartFrom: &asterv1.SubscribeRequest_Position{
		Position: asterv1.StartPosition_START_POSITION_EARLIEST,
	}}
}

func (r *runner) resume(ctx context.Context, agent *aster.Agent, step step) error {
	events := agent.Subscribe(ctx, r.start(step))
	defer events.Close()
	dense, last := true, int64(0)
	for count := 1; ; count++ {
		event, err := events.Recv()
		if err != nil {
			return err
		}
		dense = dense && (last == 0 || event.GetSequence() == last+1)
		last = event.GetSequence()
		if count == step.After {
			r.wish(step.Wish)
		}
		if event.GetEventType() == "progress.complete" {
			sayEither(dense, "dense", "gap")
			sayEither(events.Stats().Reconnects > 0, "reconnected", "connected")
			sayEvent(event)
			return nil
		}
	}
}

func batches(ctx context.Context, agent *aster.Agent) error {
	events := agent.Subscribe(ctx, earliest())
	defer events.Close()
	dense, last, largest := true, int64(0), 0
	for done := false; !done; {
		frames, err := events.RecvBatch()
		if err != nil {
			return err
		}
		largest = max(largest, len(frames))
		for _, frame := range frames {
			dense = dense && frame.GetEvent().GetSequence() == last+1
			last = frame.GetEvent().GetSequence()
			done = done || frame.GetEvent().GetEventType() == "progress.complete"
		}
	}
	sayEither(dense, "dense", "gap")
	sayEither(largest > 1, "batched", "single")
	return nil
}

func deadline(ctx context.Context, agent *aster.Agent, step step) error {
	events := agent.Subscribe(ctx, &asterv1.SubscribeRequest{EventTypes: []string{"progress.complete"}})
	defer events.Close()
	if err := events.Ready(); err != nil {
		return err
	}
	limited, stop := context.WithTimeout(ctx, time.Duration(step.Seconds*float64(time.Second)))
	defer stop()
	_, err := agent.Chat(limited, step.Text)
	var failure *aster.Error
	if !errors.Is(err, context.DeadlineExceeded) || !errors.As(err, &failure) {
		return fmt.Errorf("no deadline: %w", err)
	}
	say(errorLine(failure, nil))
	event, err := events.Recv()
	if err != nil {
		return err
	}
	sayEvent(event)
	return nil
}

func cancel(ctx context.Context, agent *aster.Agent, step step) error {
	progress := &asterv1.SubscribeRequest{Channels: []asterv1.Channel{asterv1.Channel_CHANNEL_PROGRESS}}
	events := agent.Subscribe(ctx, progress)
	defer events.Close()
	if err := events.Ready(); err != nil {
		return err
	}
	cancelled, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	go func() {
		_, err := agent.Chat(cancelled, step.Text)
		ended <- err
	}()
	if _, err := until(events, "progress.text_chunk"); err != nil {
		return err
	}
	stop()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		return fmt.Errorf("not cancelled: %w", err)
	}
	say("cancelled")
	event, err := until(events, "progress.complete")
	if err != nil {
		return err
	}
	sayEvent(event)
	return nil
}

func until(events *aster.Subscription, kind string) (aster.Event, error) {
	for {
		event, err := events.Recv()
		if err != nil || event.GetEventType() == kind {
			return event, err
		}
	}
}

func (r *runner) status(ctx context.Context, step step) error {
	client := r.client
	if step.Client == "anonymous" {
		anonymous, err := connect(aster.WithAPIKey(""))
		if err != nil {
			return err
		}
		defer anonymous.Close()
		client = anonymous
	}
	status, err := client.Agent(step.Agent).Status(ctx)
	if err != nil {
		return err
	}
	say("status " + word(status.GetState(), "AGENT_STATE_") + " " + word(status.GetActivity(), "AGENT_ACTIVITY_"))
	return nil
}

func (r *runner) star(ctx context.Context, step step) error {
	stars := asterv1.NewStarsServiceClient(r.client.Conn())
	_, err := stars.CreateStar(ctx, &asterv1.CreateStarRequest{
		StarId: step.Star,
		Members: []*asterv1.StarMember{
			{AgentId: step.Leader, Role: "leader"},
			{AgentId: step.Member, Role: "worker"},
		},
	})
	if err != nil {
		return err
	}
	run, err := stars.RunStar(ctx, &asterv1.RunStarRequest{StarId: step.Star, Message: step.Text})
	if err != nil {
		return err
	}
	say("star " + run.GetText())
	return nil
}

func (r *runner) wish(what string) {
	say("! " + what)
	_, _ = r.answers.ReadString('\n')
}
