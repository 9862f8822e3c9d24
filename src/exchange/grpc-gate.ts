import { type GrpcCall, kindOf, timeoutOf } from "../grpc/call.ts";
import { BoundedMessages } from "../grpc/messages.ts";
import { grpcTypeOf, WebRequest } from "../grpc/web.ts";
import type { Gate } from "./line.ts";
import type { Route } from "./route.ts";
import { sizeGate } from "./size-gate.ts";

/**
 * Takes calls of gRPC in, on a route whose backends speak HTTP/2: a call may stream for as long as it likes, so that its messages are bounded
 * and not the whole of them, nor how fast they come. Where `translates`, browsers' calls (gRPC-Web) become calls of gRPC. Other requests are
 * bounded as on any route.
 */
export function grpcGate(route: Pick<Route, "maxBodySize" | "bodyRate">, translates: boolean): Gate {
  const size = sizeGate(route);
  return (exchange) => {
    const { incoming, snapshot } = exchange;
    const { fields, method } = incoming.head;
    const contentType = fields.get("content-type");
    const kind = method === "POST" ? kindOf(contentType) : null;
    if (kind === null || contentType === null || (kind !== "grpc" && !translates)) return size(exchange);
    const call: GrpcCall = { kind, timeout: timeoutOf(fields.get("grpc-timeout")) };
    exchange.grpc = call;
    if (kind !== "grpc") fields.set("content-type", "content-type", grpcTypeOf(contentType));
    const { body } = incoming;
    if (body === null) return null;
    body.bound(Number.POSITIVE_INFINITY, 0);
    // Of a call that streams both ways many a backend begins its answer with the first message that it has, which may be hours away. Browsers send no streams.
    if (kind === "grpc") body.mayRest();
    exchange.held = new BoundedMessages(kind === "web-text" ? new WebRequest(body) : body, route.maxBodySize ?? snapshot.maxBodySize);
    return null;
  };
}
