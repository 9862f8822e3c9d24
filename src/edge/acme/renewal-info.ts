import { type AcmeClient, jsonOf } from "./client.ts";
import { retryAfter, untilNextWord, type Window } from "./schedule.ts";

/** Holds what an authority says about the time of a renewal. */
export interface Word {
  /** `null`: it says nothing. */
  readonly window: Window | null;
  /** Why, for people; `null`: it does not say. */
  readonly explanation: string | null;
  /** Milliseconds until it is asked again. */
  readonly askIn: number;
}

interface WireInfo {
  readonly suggestedWindow: { readonly start?: unknown; readonly end?: unknown };
  readonly explanationURL: unknown;
}

/** Asks an authority when a certificate is to be renewed (RFC 9773). `id`: see `certificateId`. `now`: milliseconds since 1970. Rejects with `AcmeTrouble`. */
export async function askWhen(client: AcmeClient, id: string, now: number): Promise<Word> {
  const { renewalInfo } = await client.directory();
  if (renewalInfo === null) return { window: null, explanation: null, askIn: untilNextWord(86_400_000) };
  const answer = await client.get(`${renewalInfo.replace(/\/$/, "")}/${id}`);
  const { suggestedWindow, explanationURL } = jsonOf<WireInfo>(answer, "window for the renewal");
  const start = timeOf(suggestedWindow?.start);
  const end = timeOf(suggestedWindow?.end);
  return {
    // One that ends before it begins is to be taken for none (RFC 9773 §4.2).
    window: start === null || end === null || end <= start ? null : { start, end },
    explanation: typeof explanationURL === "string" && /^https?:/.test(explanationURL) ? explanationURL.slice(0, 500) : null,
    askIn: untilNextWord(retryAfter(answer.headers.get("retry-after"), now)),
  };
}

function timeOf(text: unknown): number | null {
  const at = typeof text === "string" ? Date.parse(text) : Number.NaN;
  return Number.isNaN(at) ? null : at;
}
