import type { Arrival, Exchange } from "../exchange/exchange.ts";
import { kindOf } from "../grpc/call.ts";
import { encodeMessage } from "../grpc/message.ts";
import { type GrpcStatus, nameOf, readStatus, statusOf, statusOfHttp } from "../grpc/status.ts";
import { webAnswer, webTypeOf } from "../grpc/web.ts";
import { type Body, type Sink, TooLarge } from "../http/body.ts";
import { UpstreamFailure, type UpstreamResponse } from "../http/client.ts";
import { Fields } from "../http/fields.ts";
import type { Trailers } from "../http/trailers.ts";
import type { Attempt } from "./attempt.ts";
import { outcomeOf } from "./retry.ts";
import type { Upstream } from "./upstream.ts";

/** Gives the status that the head of an answer gives a call of gRPC; "open": its end will. */
export function statusAtHead({ status, fields, body }: UpstreamResponse): GrpcStatus | "open" {
  const stated = readStatus(fields.get("grpc-status"));
  if (stated !== null) return stated;
  // What is no gRPC has no status: clients make one of HTTP's.
  return status === 200 && body !== null && !(body instanceof Uint8Array) && kindOf(fields.get("content-type")) === "grpc"
    ? "open"
    : statusOfHttp(status);
}

/**
 * Gives the answer to a call as its caller gets it: followed to the status that it ends with, which it has in any case, and translated for
 * browsers. `left`: milliseconds that the call may still take; `null`: any.
 */
export function callAnswer(
  exchange: Exchange<Arrival>,
  upstream: Upstream,
  attempt: Attempt,
  response: UpstreamResponse,
  left: number | null,
): UpstreamResponse {
  const status = statusAtHead(response);
  if (status !== "open") exchange.endedWith(status);
  const { body } = response;
  const followed =
    status === "open" && body !== null && !(body instanceof Uint8Array)
      ? { ...response, body: new FollowedCall(body, exchange, upstream, attempt, left) }
      : response;
  const kind = exchange.grpc?.kind ?? "grpc";
  return kind === "grpc" ? followed : forBrowser(followed, kind);
}

/** Translates an answer for a browser. What is no gRPC stays as it is. */
function forBrowser(response: UpstreamResponse, kind: "web" | "web-text"): UpstreamResponse {
  const type = response.fields.get("content-type");
  if (type === null || kindOf(type) !== "grpc") return response;
  const fields = response.fields.shared();
  fields.set("content-type", "content-type", webTypeOf(type, kind));
  const { body } = response;
  return body === null || body instanceof Uint8Array
    ? { ...response, fields }
    : { ...response, fields, length: -1, body: webAnswer(body, kind) };
}

/** Follows the messages of an answer to the status that comes after them. One that breaks off ends with a status all the same. */
class FollowedCall implements Body {
  readonly length: number;
  private hasMessage = false;
  private isOver = false;
  private sink: Sink | null = null;
  private readonly timer: Timer | null;

  constructor(
    private readonly source: Body,
    private readonly exchange: Exchange<Arrival>,
    private readonly upstream: Upstream,
    private readonly attempt: Attempt,
    left: number | null,
  ) {
    this.length = source.length;
    this.timer = left === null ? null : setTimeout(() => this.late(), Math.min(left, LONGEST_TIMER));
    this.timer?.unref();
  }

  start(sink: Sink): void {
    this.sink = sink;
    if (this.isOver) {
      // Its time was over before anybody wanted it.
      sink.end(trailersOf(statusOf("DEADLINE_EXCEEDED"), LATE));
      return;
    }
    this.source.start({
      write: (bytes) => {
        if (!this.hasMessage) {
          this.hasMessage = true;
          // It is well: a stream may go on for hours.
          this.attempt.settled(null);
        }
        return sink.write(bytes);
      },
      end: (trailers = null) => this.ended(trailers),
      fail: (reason) => this.failed(reason),
    });
  }

  resume(): void {
    this.source.resume();
  }

  cancel(): void {
    if (!this.isOver) this.over(statusOf("CANCELLED"));
    this.sink = null;
    this.source.cancel();
  }

  private ended(trailers: Trailers | null): void {
    if (this.isOver) return;
    const status = readStatus(trailers?.get("grpc-status") ?? null);
    if (status === null) {
      this.attempt.settled("reset");
      this.finish(statusOf("INTERNAL"), "The backend ended the call without a status.");
      return;
    }
    this.attempt.settled(this.upstream.isFailingCall(status) ? `grpc:${nameOf(status)}` : null);
    this.over(status);
    this.sink?.end(trailers);
  }

  private failed(reason: Error): void {
    if (this.isOver) return;
    const outcome = reason instanceof UpstreamFailure ? outcomeOf(reason.kind) : null;
    if (outcome !== null) this.attempt.settled(outcome);
    this.exchange.notes.trouble ??= reason.message;
    const [status, message] = statusOfFailure(reason);
    // A length that was stated leaves no room for trailers.
    if (this.length >= 0) {
      this.over(status);
      this.sink?.fail(reason);
    } else this.finish(status, message);
  }

  private late(): void {
    if (this.isOver) return;
    this.finish(statusOf("DEADLINE_EXCEEDED"), LATE);
    this.source.cancel();
  }

  /** Ends the call in the backend's place. */
  private finish(status: GrpcStatus, message: string): void {
    this.over(status);
    this.sink?.end(trailersOf(status, message));
  }

  private over(status: GrpcStatus): void {
    this.isOver = true;
    if (this.timer !== null) clearTimeout(this.timer);
    this.exchange.endedWith(status);
  }
}

const LATE = "The call took longer than its deadline.";
/** The longest wait of a timer, in milliseconds. */
const LONGEST_TIMER = 2 ** 31 - 1;

/** Gives the status and the text with which a call ends whose answer has broken off. */
function statusOfFailure(reason: Error): readonly [GrpcStatus, string] {
  if (!(reason instanceof UpstreamFailure)) return [statusOf("UNAVAILABLE"), BROKE_OFF];
  if (reason.cause instanceof TooLarge)
    return [statusOf("RESOURCE_EXHAUSTED"), `A message must not be larger than ${reason.cause.max} bytes.`];
  switch (reason.kind) {
    case "aborted":
    case "request":
      return [statusOf("CANCELLED"), "The call was given up."];
    case "timeout":
      return [statusOf("DEADLINE_EXCEEDED"), "The backend did not answer in time; try again later."];
    default:
      return [statusOf("UNAVAILABLE"), BROKE_OFF];
  }
}

const BROKE_OFF = "The backend broke the call off; try again later.";

function trailersOf(status: GrpcStatus, message: string): Trailers {
  const fields = new Fields();
  fields.add("grpc-status", "grpc-status", String(status));
  fields.add("grpc-message", "grpc-message", encodeMessage(message));
  return fields;
}
