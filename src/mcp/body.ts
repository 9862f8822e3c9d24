import type { Arrival, Exchange } from "../exchange/exchange.ts";
import { TooLarge, WholeBody } from "../http/body.ts";
import { HeldBody } from "../http/held-body.ts";
import { type Problem, passing, problem } from "../http/problem.ts";
import { isJsonType } from "../values/json.ts";

/** The most bytes of a message: files stand in arguments of tools as text. */
const MAX_MESSAGE = 16_777_216;
/** Messages up to this size are read whatever else is under way. In bytes. */
const MAX_SMALL = 1_048_576;
/** What all requests together may have under way of larger ones, which wait for their ends in memory. In bytes. */
const MAX_AT_ONCE = 134_217_728;

let atOnce = 0;

const TOO_MUCH = passing(
  "bodyTooLarge",
  `Too many large messages are under way at the moment: make this one smaller than ${MAX_SMALL} bytes, or try again.`,
  1,
);

/** Tells why a message can't be read as it is sent; `null` where it can. */
export function mediaFault({ incoming: { head } }: Exchange<Arrival>): Problem | null {
  const { fields } = head;
  const coding = fields.joined("content-encoding")?.trim().toLowerCase() ?? "identity";
  if (coding !== "" && coding !== "identity") return problem("unsupportedMediaType", "Send the message without a Content-Encoding.");
  const type = fields.joined("content-type") ?? "";
  const charset = /;\s*charset\s*=\s*"?([^";\s]*)/i.exec(type)?.[1]?.toLowerCase() ?? "utf-8";
  if (isJsonType(fields.mediaType) && (charset === "utf-8" || charset === "utf8")) return null;
  return problem("unsupportedMediaType", "Send the message as application/json, in UTF-8.");
}

/**
 * Reads the body of a request to its end; whoever reads it next finds it whole. Gives a refusal where too much is under way. Rejects when
 * it breaks off, comes too slowly or is too large. The body must be there. `max`: the most bytes that it may have.
 */
export async function readWhole(exchange: Exchange<Arrival>, max: number): Promise<Uint8Array | Problem> {
  const { body } = exchange;
  if (body === null) return new Uint8Array();
  const most = Math.min(max, MAX_MESSAGE);
  let size = 0;
  let weight = 0;
  exchange.onEnded(() => {
    atOnce -= weight;
    weight = 0;
  });
  const held = new HeldBody(body, most, (bytes) => {
    size += bytes;
    if (size <= MAX_SMALL || exchange.isOver) return true;
    const more = size - weight;
    weight += more;
    atOnce += more;
    return atOnce <= MAX_AT_ONCE;
  });
  const bytes = await held.whole;
  if (bytes === null) {
    held.cancel();
    if (size > most) throw new TooLarge(most);
    return TOO_MUCH;
  }
  exchange.held = new WholeBody(bytes);
  return bytes;
}
