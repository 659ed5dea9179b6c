package aster

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	mathrand "math/rand/v2"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	asterv1 "github.com/asteros/aster-grpc/clients/go/aster/v1"
)

const (
	tries       = 3
	firstPause  = 100 * time.Millisecond
	longestWait = 5 * time.Second
)

// Calls that last as long as their turn: only the caller's own deadline ends them.
var unlimited = map[string]bool{
	asterv1.AgentService_Chat_FullMethodName:               true,
	asterv1.StarsService_RunStar_FullMethodName:            true,
	asterv1.WorkflowService_ExecuteWorkflow_FullMethodName: true,
}

// NewRequestID makes a fresh idempotency key: 128 random bits as hex.
func NewRequestID() string {
	var bits [16]byte
	_, _ = rand.Read(bits[:]) // never fails, says its documentation
	return hex.EncodeToString(bits[:])
}

// pauses have full jitter: each is a random part of a ceiling that doubles.
type pauses struct{ ceiling time.Duration }

func (b *pauses) next(atLeast time.Duration) time.Duration {
	b.ceiling = min(max(b.ceiling, firstPause), longestWait)
	pause := atLeast + time.Duration(mathrand.Int64N(int64(b.ceiling)+1))
	b.ceiling *= 2
	return pause
}

func (b *pauses) reset() { b.ceiling = firstPause }

// wait returns false when ctx ended first.
func wait(ctx context.Context, pause time.Duration) bool {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// unary gives a short call its deadline, repeats what may be repeated while the server is
// UNAVAILABLE, and makes an *Error of what fails.
func unary(timeout time.Duration) grpc.UnaryClientInterceptor {
	return func(
		ctx context.Context, method string, request, reply any, conn *grpc.ClientConn,
		invoke grpc.UnaryInvoker, options ...grpc.CallOption,
	) error {
		if _, limited := ctx.Deadline(); !limited && !unlimited[method] {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, timeout)
			defer cancel()
		}
		left := 1
		if repeatable(method, request) {
			left = tries
		}
		var between pauses
		for {
			failure := failed(invoke(ctx, method, request, reply, conn, options...))
			if failure == nil {
				return nil
			}
			left--
			pause := between.next(failure.RetryAfter)
			end, limited := ctx.Deadline()
			if left == 0 || !mayPass(failure) || limited && time.Until(end) <= pause || !wait(ctx, pause) {
				return failure
			}
		}
	}
}

// mayPass: a failed turn is UNAVAILABLE too when its provider was; asked again with the
// same request_id the server would only say the same again.
func mayPass(failure *Error) bool {
	return failure.Code == codes.Unavailable && failure.Metadata["turn_id"] == ""
}

// repeatable: a read, or a call with a request_id.
func repeatable(method string, request any) bool {
	message, ok := request.(proto.Message)
	if !ok {
		return false
	}
	reflected := message.ProtoReflect()
	if field := reflected.Descriptor().Fields().ByName("request_id"); field != nil {
		return reflected.Get(field).String() != ""
	}
	name := protoreflect.FullName(dotted(method))
	found, err := protoregistry.GlobalFiles.FindDescriptorByName(name)
	if err != nil {
		return false
	}
	options, _ := found.Options().(*descriptorpb.MethodOptions)
	return options.GetIdempotencyLevel() == descriptorpb.MethodOptions_NO_SIDE_EFFECTS
}

// dotted: "/aster.v1.AgentService/Chat" as descriptors name it.
func dotted(method string) string {
	return strings.ReplaceAll(strings.TrimPrefix(method, "/"), "/", ".")
}
