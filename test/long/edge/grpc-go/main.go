// A service and its callers by grpc-go. `main serve` prints its port; `main call ADDRESS KEY` makes all kinds of calls
// and prints what came of them as JSON; with one more word it makes one call.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// bytesCodec takes messages as they are: what they say is not the gateway's business.
type bytesCodec struct{ encoding.CodecV2 }

func (c bytesCodec) Marshal(v any) (mem.BufferSlice, error) {
	if b, ok := v.(*[]byte); ok {
		return mem.BufferSlice{mem.SliceBuffer(*b)}, nil
	}
	return c.CodecV2.Marshal(v)
}

func (c bytesCodec) Unmarshal(data mem.BufferSlice, v any) error {
	if b, ok := v.(*[]byte); ok {
		*b = data.Materialize()
		return nil
	}
	return c.CodecV2.Unmarshal(data, v)
}

type service struct{}

func one(_ any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
	var in []byte
	if err := decode(&in); err != nil {
		return nil, err
	}
	switch string(in) {
	case "hang":
		<-ctx.Done()
		return nil, ctx.Err()
	case "fail":
		return nil, status.Error(codes.FailedPrecondition, "not — now")
	}
	grpc.SetHeader(ctx, metadata.Pairs("x-before", "2"))
	grpc.SetTrailer(ctx, metadata.Pairs("x-after", "1", "x-some-bin", string([]byte{0, 1, 255})))
	return &in, nil
}

func both(_ any, stream grpc.ServerStream) error {
	for {
		var in []byte
		if err := stream.RecvMsg(&in); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if err := stream.SendMsg(&in); err != nil {
			return err
		}
	}
}

func down(_ any, stream grpc.ServerStream) error {
	var in []byte
	if err := stream.RecvMsg(&in); err != nil {
		return err
	}
	var count, size int
	fmt.Sscanf(string(in), "%d:%d", &count, &size)
	piece := make([]byte, size)
	for range count {
		if err := stream.SendMsg(&piece); err != nil {
			return err
		}
	}
	return nil
}

func up(_ any, stream grpc.ServerStream) error {
	sum := 0
	for {
		var in []byte
		if err := stream.RecvMsg(&in); errors.Is(err, io.EOF) {
			out := []byte(fmt.Sprint(sum))
			return stream.SendMsg(&out)
		} else if err != nil {
			return err
		}
		sum += len(in)
	}
}

func serve() {
	encoding.RegisterCodecV2(codec())
	server := grpc.NewServer(grpc.MaxRecvMsgSize(1 << 30))
	server.RegisterService(&grpc.ServiceDesc{
		ServiceName: "sluice.test.v1.Echo",
		HandlerType: (*any)(nil),
		Methods:     []grpc.MethodDesc{{MethodName: "One", Handler: one}},
		Streams: []grpc.StreamDesc{
			{StreamName: "Down", Handler: down, ServerStreams: true},
			{StreamName: "Up", Handler: up, ClientStreams: true},
			{StreamName: "Both", Handler: both, ServerStreams: true, ClientStreams: true},
		},
	}, &service{})
	checks := health.NewServer()
	checks.SetServingStatus("sluice.test.v1.Echo", healthpb.HealthCheckResponse_SERVING)
	healthpb.RegisterHealthServer(server, checks)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	server.Serve(listener)
}

func codec() encoding.CodecV2 { return bytesCodec{encoding.GetCodecV2("proto")} }

type outcome map[string]any

func call(address, key string) {
	connection, err := grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(codec()), grpc.MaxCallRecvMsgSize(1<<30)))
	if err != nil {
		panic(err)
	}
	defer connection.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	ctx = metadata.AppendToOutgoingContext(ctx, "x-api-key", key)
	const at = "/sluice.test.v1.Echo/"
	result := outcome{}

	in, out := []byte("hello"), []byte(nil)
	if len(os.Args) > 4 {
		json.NewEncoder(os.Stdout).Encode(outcome{"once": status.Code(connection.Invoke(ctx, at+"One", &in, &out)).String()})
		return
	}
	var head, trailer metadata.MD
	err = connection.Invoke(ctx, at+"One", &in, &out, grpc.Header(&head), grpc.Trailer(&trailer))
	result["one"] = []any{string(out), status.Code(err).String(), head.Get("x-before"), trailer.Get("x-after"), []byte(strings.Join(trailer.Get("x-some-bin"), ","))}

	in = []byte("fail")
	err = connection.Invoke(ctx, at+"One", &in, &out)
	result["fail"] = []any{status.Code(err).String(), status.Convert(err).Message()}

	in = []byte("hang")
	short, stop := context.WithTimeout(ctx, 300*time.Millisecond)
	result["deadline"] = status.Code(connection.Invoke(short, at+"One", &in, &out)).String()
	stop()
	cancelled, leave := context.WithCancel(ctx)
	time.AfterFunc(200*time.Millisecond, leave)
	result["cancel"] = status.Code(connection.Invoke(cancelled, at+"One", &in, &out)).String()

	stream, err := connection.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, at+"Down")
	received := 0
	if err == nil {
		in = []byte("1000:100000")
		stream.SendMsg(&in)
		stream.CloseSend()
		for {
			var part []byte
			if err = stream.RecvMsg(&part); err != nil {
				break
			}
			received += len(part)
		}
	}
	result["down"] = []any{received, errors.Is(err, io.EOF)}

	stream, err = connection.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true}, at+"Up")
	if err == nil {
		piece := make([]byte, 100000)
		for range 1000 {
			if err = stream.SendMsg(&piece); err != nil {
				break
			}
		}
		stream.CloseSend()
		err = stream.RecvMsg(&out)
	}
	result["up"] = []any{string(out), status.Code(err).String()}

	stream, err = connection.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, at+"Both")
	rounds := 0
	for ; err == nil && rounds < 200; rounds++ {
		message := []byte(fmt.Sprint(rounds))
		if err = stream.SendMsg(&message); err == nil {
			err = stream.RecvMsg(&out)
		}
	}
	result["both"] = []any{rounds, status.Code(err).String()}
	stream.CloseSend()

	refused := connection.Invoke(metadata.AppendToOutgoingContext(context.Background(), "x-api-key", "nobody-s-key-0123456789"), at+"One", &in, &out)
	result["refused"] = []any{status.Code(refused).String(), reason(refused)}
	var limited error
	in = []byte("again")
	for range 50 {
		if limited = connection.Invoke(ctx, "/sluice.test.v1.Limited/One", &in, &out); status.Code(limited) == codes.ResourceExhausted {
			break
		}
	}
	result["limited"] = []any{status.Code(limited).String(), reason(limited)}
	json.NewEncoder(os.Stdout).Encode(result)
}

// reason gives what ErrorInfo says, and whether RetryInfo is there.
func reason(err error) []any {
	said, retries := "", false
	for _, detail := range status.Convert(err).Details() {
		switch found := detail.(type) {
		case *errdetails.ErrorInfo:
			said = found.Domain + "/" + found.Reason
		case *errdetails.RetryInfo:
			retries = found.RetryDelay.AsDuration() > 0
		}
	}
	return []any{said, retries}
}

func main() {
	if os.Args[1] == "serve" {
		serve()
	} else {
		call(os.Args[2], os.Args[3])
	}
}
