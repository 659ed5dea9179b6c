// Package aster is the Go client of Aster, a control plane for AI agents.
//
//	client, err := aster.NewClient()
//	defer client.Close()
//	agent, err := client.CreateAgent(ctx, &asterv1.AgentConfig{TemplateId: "demo"})
//	reply, err := agent.Chat(ctx, "write notes.txt: hello")
//
// Every failure of a call is an *Error. A call ends with its context; one that has no
// deadline gets the client's timeout, unless it lasts as long as a turn (Chat).
package aster

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"iter"
	"os"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"

	asterv1 "github.com/asteros/aster-grpc/clients/go/aster/v1"
)

const (
	// DefaultAddress is where a server listens that was told nothing else.
	DefaultAddress = "127.0.0.1:50051"
	// DefaultTimeout is the limit of one short call with its retries.
	DefaultTimeout = 30 * time.Second

	maxReceiveBytes = 16 << 20
)

type settings struct {
	address   string
	key       string
	timeout   time.Duration
	transport credentials.TransportCredentials
	err       error
}

// Option changes how a client connects.
type Option func(*settings)

// WithAddress says where the server is, "host:port". Default: ASTER_ADDRESS, else DefaultAddress.
func WithAddress(address string) Option { return func(s *settings) { s.address = address } }

// WithAPIKey says with which key to call; empty: none. Default: ASTER_API_KEY.
func WithAPIKey(key string) Option { return func(s *settings) { s.key = key } }

// WithTimeout limits short calls with their retries. Default: DefaultTimeout.
func WithTimeout(timeout time.Duration) Option { return func(s *settings) { s.timeout = timeout } }

// WithTLS connects over TLS. Nil: as the system trusts.
func WithTLS(config *tls.Config) Option {
	return func(s *settings) { s.transport = credentials.NewTLS(config) }
}

// WithCA connects over TLS and trusts these authorities alone (PEM).
func WithCA(pem []byte) Option {
	return func(s *settings) {
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(pem) {
			s.err = errors.New("aster: no certificate in the CA's PEM text")
		}
		s.transport = credentials.NewTLS(&tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12})
	}
}

// Client talks to one server over one connection. Safe for use by many goroutines.
type Client struct {
	conn    *grpc.ClientConn
	agents  asterv1.AgentServiceClient
	events  asterv1.EventServiceClient
	control asterv1.ControlServiceClient
}

// NewClient makes a client; the first call connects.
func NewClient(options ...Option) (*Client, error) {
	chosen := settings{
		address:   cmp.Or(os.Getenv("ASTER_ADDRESS"), DefaultAddress),
		key:       os.Getenv("ASTER_API_KEY"),
		timeout:   DefaultTimeout,
		transport: insecure.NewCredentials(),
	}
	for _, option := range options {
		option(&chosen)
	}
	if chosen.err != nil {
		return nil, chosen.err
	}
	conn, err := grpc.NewClient("dns:///"+chosen.address, dialOptions(chosen)...)
	if err != nil {
		return nil, err
	}
	return &Client{
		conn:    conn,
		agents:  asterv1.NewAgentServiceClient(conn),
		events:  asterv1.NewEventServiceClient(conn),
		control: asterv1.NewControlServiceClient(conn),
	}, nil
}

func dialOptions(chosen settings) []grpc.DialOption {
	return []grpc.DialOption{
		grpc.WithTransportCredentials(chosen.transport),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{
			Time: 30 * time.Second, Timeout: 10 * time.Second, PermitWithoutStream: true,
		}),
		// gRPC's own pause between tries grows to 120 s: a subscriber would find the server long
		// after it is back.
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: firstPause, Multiplier: 1.6, Jitter: 0.2, MaxDelay: longestWait},
			MinConnectTimeout: longestWait,
		}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxReceiveBytes)),
		grpc.WithChainUnaryInterceptor(keyed(chosen.key), unary(chosen.timeout)),
		grpc.WithChainStreamInterceptor(keyedStream(chosen.key)),
	}
}

func withKey(ctx context.Context, key string) context.Context {
	if key == "" {
		return ctx
	}
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+key)
}

func keyed(key string) grpc.UnaryClientInterceptor {
	return func(
		ctx context.Context, method string, request, reply any, conn *grpc.ClientConn,
		invoke grpc.UnaryInvoker, options ...grpc.CallOption,
	) error {
		return invoke(withKey(ctx, key), method, request, reply, conn, options...)
	}
}

func keyedStream(key string) grpc.StreamClientInterceptor {
	return func(
		ctx context.Context, description *grpc.StreamDesc, conn *grpc.ClientConn, method string,
		open grpc.Streamer, options ...grpc.CallOption,
	) (grpc.ClientStream, error) {
		return open(withKey(ctx, key), description, conn, method, options...)
	}
}

// Close closes the connection; calls that run and subscriptions end.
func (c *Client) Close() error { return c.conn.Close() }

// Conn is the connection for generated stubs that the client has no words for, such as
// asterv1.NewStarsServiceClient(client.Conn()): key, timeout, retries and errors are the same.
func (c *Client) Conn() grpc.ClientConnInterface { return c.conn }

// CreateAgent creates an agent. ALREADY_EXISTS for a taken id, NOT_FOUND for an unknown template.
func (c *Client) CreateAgent(
	ctx context.Context, config *asterv1.AgentConfig, with ...func(*asterv1.CreateAgentRequest),
) (*Agent, error) {
	request := &asterv1.CreateAgentRequest{Config: config, RequestId: NewRequestID()}
	for _, change := range with {
		change(request)
	}
	response, err := c.agents.CreateAgent(ctx, request)
	if err != nil {
		return nil, err
	}
	return &Agent{client: c, ID: response.GetAgent().GetId(), Info: response.GetAgent()}, nil
}

// Agent is a handle on an agent that exists; calls nobody.
func (c *Client) Agent(id string) *Agent { return &Agent{client: c, ID: id} }

// PendingApprovals is everything that waits for a person, oldest first: the inbox.
// Empty agentID: of all agents. Asks for page after page; an error ends it.
func (c *Client) PendingApprovals(ctx context.Context, agentID string) iter.Seq2[*asterv1.PendingRequest, error] {
	return func(yield func(*asterv1.PendingRequest, error) bool) {
		request := &asterv1.ListPendingApprovalsRequest{AgentId: agentID}
		for {
			page, err := c.control.ListPendingApprovals(ctx, request)
			if err != nil {
				yield(nil, err)
				return
			}
			for _, pending := range page.GetPending() {
				if !yield(pending, nil) {
					return
				}
			}
			if request.PageToken = page.GetNextPageToken(); request.PageToken == "" {
				return
			}
		}
	}
}

// Approve decides a request of the inbox: a tool call, bound to the input that it shows, or an
// iteration limit. For a question use Agent.Respond.
func (c *Client) Approve(ctx context.Context, pending *asterv1.PendingRequest, allow bool) error {
	agent := c.Agent(pending.GetAgentId())
	switch asked := pending.GetRequest().(type) {
	case *asterv1.PendingRequest_ToolApproval:
		return agent.Approve(ctx, pending.GetId(), allow, func(request *asterv1.ApproveToolCallRequest) {
			request.InputDigest = asked.ToolApproval.GetInputDigest()
		})
	case *asterv1.PendingRequest_IterationLimit:
		return agent.RespondToIterationLimit(ctx, pending.GetId(), allow)
	case *asterv1.PendingRequest_WorkflowApproval:
		_, err := c.control.RespondToWorkflowApproval(ctx, &asterv1.RespondToWorkflowApprovalRequest{
			WorkflowId: asked.WorkflowApproval.GetWorkflowId(), RunId: pending.GetWorkflowRunId(),
			PendingId: pending.GetId(), Decision: decision(allow),
		})
		return err
	default:
		return errors.New("aster: a question is not decided by yes or no")
	}
}

// Subscribe follows events of any agents on one stream: see Subscription.
func (c *Client) Subscribe(ctx context.Context, request *asterv1.SubscribeRequest) *Subscription {
	return subscribe(ctx, c, request)
}
