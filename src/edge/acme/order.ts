import { parseIp } from "../../values/ip.ts";
import { type AcmeAnswer, type AcmeClient, jsonOf, pause } from "./client.ts";
import { certificateRequest } from "./csr.ts";
import { type Held, heldOf, textOf } from "./held.ts";
import { base64url, keyText, newKey } from "./jws.ts";
import { retryAfter } from "./schedule.ts";
import { AcmeTrouble, troubleOf, type WireProblem } from "./trouble.ts";

/** Shows an authority what proves that a host is ours (RFC 8555 §8.3). */
export interface Proofs {
  /** Answers `token` with `answer` from here on, wherever it is asked. */
  show(token: string, answer: string): Promise<void>;
  hide(token: string): Promise<void>;
}

export interface Wish {
  readonly host: string;
  /** The kind of certificate; `null`: the authority's own choice. */
  readonly profile: string | null;
  /** The identifier of the certificate that it takes the place of (RFC 9773 §5); `null`: there is none, or the authority does not care. */
  readonly replaces: string | null;
}

interface WireOrder {
  readonly status: string;
  readonly authorizations: readonly string[];
  readonly finalize: string;
  readonly certificate: string;
  readonly error: WireProblem;
}

interface WireAuthorization {
  readonly status: string;
  readonly challenges: readonly WireChallenge[];
}

interface WireChallenge {
  readonly type: string;
  readonly url: string;
  readonly token: string;
  readonly error?: WireProblem;
}

/** Milliseconds that an authority may take for one of its steps. */
const STEP_WITHIN = 300_000;
/** Milliseconds between two questions whether a step is done, where it does not say: doubled each time. */
const FIRST_LOOK = 250;
const LAST_LOOK = 5000;
/** The longest that it may have us wait between two of them, whatever it says. */
const MAX_LOOK = 60_000;

/** Orders a certificate, with a key of its own. Rejects with `AcmeTrouble`, and with the signal's reason when the client is stopped. */
export async function order(client: AcmeClient, account: string, wish: Wish, proofs: Proofs): Promise<Held> {
  const { host } = wish;
  const { url, order: begun } = await begin(client, account, wish);
  for (const authorization of begun.authorizations ?? []) await prove(client, account, authorization, proofs);
  // What was proven a moment ago may take a while to be known everywhere.
  let current =
    begun.status === "ready" ? begun : await settled<WireOrder>(client, account, url, "order", (status) => status !== "pending");
  const key = newKey();
  if (current.status === "ready") {
    if (typeof current.finalize !== "string") throw new AcmeTrouble("the authority's order can't be read");
    await client.post(account, current.finalize, { csr: base64url(certificateRequest(host, key)) });
    current = await settled<WireOrder>(client, account, url, "order", (status) => status !== "ready" && status !== "processing");
  }
  if (current.status !== "valid" || typeof current.certificate !== "string")
    throw troubleOf(current.error ?? { detail: `the authority gives up the order (${current.status})` }, 200);
  const { text } = await client.post(account, current.certificate, null);
  try {
    return heldOf(host, textOf({ key: keyText(key), cert: text }));
  } catch (error) {
    throw new AcmeTrouble(
      `the authority sends a certificate that can't be used: ${error instanceof Error ? error.message : String(error)}`,
    );
  }
}

async function begin(
  client: AcmeClient,
  account: string,
  { host, profile, replaces }: Wish,
): Promise<{ readonly url: string; readonly order: Partial<WireOrder> }> {
  const { newOrder, profiles, renewalInfo } = await client.directory();
  if (profile !== null && !profiles.includes(profile))
    throw new AcmeTrouble(
      `the authority has no profile ${JSON.stringify(profile)}${profiles.length === 0 ? " and no others" : `: it has ${profiles.join(", ")}`}`,
    );
  const wanted = {
    // RFC 8738 for addresses.
    identifiers: [{ type: parseIp(host) === null ? "dns" : "ip", value: host }],
    ...(profile === null ? {} : { profile }),
  };
  const taking = async (): Promise<AcmeAnswer> => {
    if (replaces === null || renewalInfo === null) return client.post(account, newOrder, wanted);
    try {
      return await client.post(account, newOrder, { ...wanted, replaces });
    } catch (error) {
      // Another order took its place, or it is not known there any more (RFC 9773 §5): the order itself is fine.
      if (error instanceof AcmeTrouble && (error.kind === "alreadyReplaced" || error.kind === "malformed" || error.status === 404))
        return client.post(account, newOrder, wanted);
      throw error;
    }
  };
  const answer = await taking();
  const url = answer.headers.get("location");
  if (url === null) throw new AcmeTrouble("the authority takes an order and does not say where it is");
  return { url, order: jsonOf<WireOrder>(answer, "order") };
}

/** Proves that the host is ours, unless that is known. */
async function prove(client: AcmeClient, account: string, url: string, proofs: Proofs): Promise<void> {
  const asked = jsonOf<WireAuthorization>(await client.post(account, url, null), "authorization");
  if (asked.status === "valid") return;
  const challenge = asked.challenges?.find(({ type }) => type === "http-01");
  if (asked.status !== "pending" || challenge === undefined) throw failureOf(asked);
  const { token } = challenge;
  // It stands in a path, and in a file's name.
  if (!isToken(token)) throw new AcmeTrouble("the authority's token is none (RFC 8555 §8.3)");
  await proofs.show(token, `${token}.${client.account.thumbprint}`);
  try {
    await client.post(account, challenge.url, {});
    const done = await settled<WireAuthorization>(client, account, url, "authorization", (status) => status !== "pending");
    if (done.status !== "valid") throw failureOf(done);
  } finally {
    await proofs.hide(token);
  }
}

/** Tells whether a text may be a challenge's token: base64url, without padding. */
export const isToken = (text: unknown): text is string => typeof text === "string" && /^[A-Za-z0-9_-]{1,256}$/.test(text);

function failureOf({ status, challenges }: Partial<WireAuthorization>): AcmeTrouble {
  const failed = challenges?.find(({ error }) => error !== undefined)?.error;
  if (failed !== undefined) return troubleOf(failed, 200);
  if (status === "pending") return new AcmeTrouble("the authority does not offer http-01 for this host");
  return new AcmeTrouble(`the authority does not take the host as proven (${status})`);
}

/** Waits until something of the authority has another status. A question that is not answered for the moment is asked again. */
async function settled<T extends { readonly status: string }>(
  client: AcmeClient,
  account: string,
  url: string,
  what: string,
  isSettled: (status: string) => boolean,
): Promise<Partial<T>> {
  const end = performance.now() + STEP_WITHIN;
  for (let look = FIRST_LOOK; ; look = Math.min(LAST_LOOK, look * 2)) {
    let wait: number | null = null;
    try {
      const answer = await client.post(account, url, null);
      const value = jsonOf<T>(answer, what);
      if (value.status !== undefined && isSettled(value.status)) return value;
      wait = retryAfter(answer.headers.get("retry-after"), Date.now());
    } catch (error) {
      if (!(error instanceof AcmeTrouble) || !error.isPassing || performance.now() > end) throw error;
      wait = error.retryAfter;
    }
    if (performance.now() > end) throw new AcmeTrouble(`the authority has not finished the ${what} within ${STEP_WITHIN / 1000} s`);
    await pause(Math.min(MAX_LOOK, wait ?? look), client.signal);
  }
}
