import { kindOf } from "../grpc/call.ts";
import { grpcRefusal } from "../grpc/refusal.ts";
import { httpStatusOf, statusOfRefusal } from "../grpc/status.ts";
import type { UpstreamResponse } from "../http/client.ts";
import { forModelClients, type Problem } from "../http/problem.ts";
import { problemReply } from "../http/reply.ts";
import { rpcRefusalReply } from "../http/rpc-refusal.ts";
import type { Answer } from "./answer.ts";
import type { Exchange } from "./exchange.ts";
import { ownHead, responseHead } from "./headers.ts";
import { enterTunnel } from "./tunnel.ts";

/** Writes the answer to a request. No other function does, or sets a status. `now` as of `clock.now()`. */
export function finish(exchange: Exchange, answer: Answer, now: number): void {
  switch (answer.kind) {
    case "problem":
      refuse(exchange, answer.problem, now);
      break;
    case "reply": {
      const { reply } = answer;
      const { grpcStatus } = exchange.notes;
      exchange.status = grpcStatus === null || reply.status !== 200 ? reply.status : httpStatusOf(grpcStatus);
      exchange.incoming.reply({ ...reply, head: reply.head + ownHead(exchange, now - exchange.startedAt) });
      break;
    }
    case "forwarded":
      respond(exchange, answer.response, now);
      break;
    case "gone":
  }
}

function refuse(exchange: Exchange, refusal: Problem, now: number): void {
  exchange.status = refusal.status;
  exchange.notes.refusal = refusal;
  const kind = exchange.grpc?.kind ?? kindOf(exchange.incoming.head.fields.get("content-type"));
  if (kind !== null) {
    // Its own libraries read nothing else.
    exchange.notes.grpcStatus = statusOfRefusal(refusal);
    exchange.incoming.reply(grpcRefusal(refusal, exchange.id, kind, ownHead(exchange, now - exchange.startedAt)));
    return;
  }
  const head = ownHead(exchange, now - exchange.startedAt);
  const types = exchange.snapshot.problemTypes;
  if (exchange.route.mcp !== null) {
    const accept = exchange.incoming.head.fields.joined("accept");
    const reply = rpcRefusalReply(refusal, { id: exchange.rpc?.id ?? null, requestId: exchange.id, accept, types }, head);
    exchange.status = reply.status;
    exchange.incoming.reply(reply);
    return;
  }
  const { credential, models } = exchange.route;
  const told = credential === null && models === null ? refusal : forModelClients(refusal);
  exchange.incoming.reply(problemReply(told, exchange.id, types, head));
}

/** Writes the upstream's answer, with our own header lines around it. */
function respond(exchange: Exchange, response: UpstreamResponse, now: number): void {
  const { status, reason, body, length, tunnel } = response;
  const { grpcStatus } = exchange.notes;
  exchange.status = grpcStatus === null || status !== 200 ? status : httpStatusOf(grpcStatus);
  const head = responseHead(exchange, exchange.route, response) + ownHead(exchange, now - exchange.startedAt);
  if (tunnel !== null) enterTunnel(exchange, response, tunnel, head);
  // Trailers come in chunks alone.
  else if (body === null || body instanceof Uint8Array || body.length >= 0) exchange.incoming.reply({ status, reason, head, body, length });
  else {
    const { dropped } = exchange.route.responseRules;
    exchange.incoming.reply({ status, reason, head, body, length, keepsTrailer: (lower) => !dropped.has(lower) });
  }
}
