import type { Arrival, Exchange } from "../exchange/exchange.ts";
import { takesTrailers } from "../exchange/headers.ts";
import type { Body } from "../http/body.ts";
import { UpstreamFailure, type UpstreamResponse } from "../http/client.ts";
import { Fields } from "../http/fields.ts";
import { HeldBody } from "../http/held-body.ts";
import type { Trailers } from "../http/trailers.ts";
import { isJsonType } from "../values/json.ts";
import { dollarsOf } from "../values/money.ts";
import type { ModelSpending } from "./spending.ts";
import { PricedStream } from "./stream.ts";

/** The largest answer of JSON that is held until it is there as a whole, so that its head can tell what it cost. In bytes. */
const MAX_HELD = 1_048_576;

/**
 * Gives an answer of a model that tells what it cost: JSON in its head, a stream of events in a trailer, where the client takes those. A
 * stream takes more money when it grows beyond what was reserved for it, and ends with an error when there is none. Rejects with
 * `UpstreamFailure` where an answer breaks off that is held, or is not there as a whole `within` so many milliseconds; `null`: whoever made
 * the request sees to that.
 */
export function priced(
  exchange: Exchange<Arrival>,
  spending: ModelSpending,
  response: UpstreamResponse,
  within: number | null = null,
): UpstreamResponse | Promise<UpstreamResponse> {
  const { body } = response;
  if (body === null) return response;
  const type = response.fields.mediaType;
  if (type === "text/event-stream")
    return body instanceof Uint8Array ? told(exchange, spending, response) : streamed(exchange, spending, response, body);
  if (!isJsonType(type)) return response;
  if (body instanceof Uint8Array) return told(exchange, spending, response);
  return response.length > MAX_HELD ? response : held(exchange, spending, response, body, within);
}

/** Waits for an answer of JSON that is not too large. */
async function held(
  exchange: Exchange<Arrival>,
  spending: ModelSpending,
  response: UpstreamResponse,
  body: Body,
  within: number | null,
): Promise<UpstreamResponse> {
  const holding = new HeldBody(body, MAX_HELD);
  let isLate = false;
  const giveUp = (): void => {
    isLate = true;
    holding.cancel();
  };
  const timer = within === null ? undefined : setTimeout(giveUp, Math.max(0, within));
  const bytes = await holding.whole
    .catch((error: Error) => {
      throw error instanceof UpstreamFailure ? error : new UpstreamFailure("reset", "the answer broke off", true, error);
    })
    .finally(() => clearTimeout(timer));
  if (isLate && bytes === null) throw new UpstreamFailure("timeout", "the answer did not come as a whole in time", true);
  if (bytes === null) return { ...response, body: holding };
  const whole = { ...response, body: bytes, length: bytes.length };
  return holding.trailers === null ? told(exchange, spending, whole) : whole;
}

/** Has the head of an answer that is there as a whole tell what it cost. */
function told(exchange: Exchange<Arrival>, spending: ModelSpending, response: UpstreamResponse): UpstreamResponse {
  const cost = spending.told;
  if (cost !== null) exchange.modelHead += `X-Cost: ${dollarsOf(cost)}\r\n`;
  return own(response);
}

function streamed(exchange: Exchange<Arrival>, spending: ModelSpending, response: UpstreamResponse, body: Body): UpstreamResponse {
  const isTold = spending.isPriced && response.length < 0 && takesTrailers(exchange.incoming.head);
  if (isTold) exchange.modelHead += "Trailer: X-Cost\r\n";
  const stream = new PricedStream(body, {
    spending,
    api: exchange.prompt?.api ?? "other",
    events: () => exchange.meter?.events ?? 0,
    passed: () => exchange.meter?.passed ?? 0,
    trailersOf: (trailers) => (isTold ? withCost(trailers, spending.told) : trailers),
    onSpent: () => {
      exchange.notes.trouble = "a limit in money was used up in mid-stream";
    },
  });
  return { ...own(response), body: stream };
}

/** Gives the answer without what the backend says it cost: that is another's price. */
const own = (response: UpstreamResponse): UpstreamResponse =>
  response.fields.get("x-cost") === null ? response : { ...response, fields: response.fields.without("x-cost") };

function withCost(trailers: Trailers | null, cost: number | null): Trailers | null {
  if (cost === null) return trailers;
  const all = new Fields();
  if (trailers !== null)
    for (let i = 0; i < trailers.names.length; i++)
      if (trailers.lower[i] !== "x-cost") all.add(trailers.names[i] as string, trailers.lower[i] as string, trailers.values[i] as string);
  all.add("X-Cost", "x-cost", dollarsOf(cost));
  return all;
}
