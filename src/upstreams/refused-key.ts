import { prefixOf } from "../exchange/router.ts";
import { discard, type UpstreamClient, type UpstreamResponse } from "../http/client.ts";
import { CredentialRefused, type CredentialUse, credentialLine, PoolExhausted } from "../pools/credential.ts";
import type { PoolKey } from "../pools/pool.ts";
import { isDoubtful } from "../pools/pools.ts";
import type { Clock } from "../values/clock.ts";
import type { Attempt } from "./attempt.ts";
import type { Sending } from "./sending.ts";
import type { Target } from "./upstream.ts";

/** The status by which an upstream says that a key's limit is reached. */
const LIMITED = 429;

/** How long the upstream may take to say whether it takes a key, in milliseconds. */
const PROBE_TIMEOUT = 5000;

export interface RefusedKeysDeps {
  readonly clock: Clock;
  readonly client: UpstreamClient;
  /** Tells of an error that nobody waits for. */
  readonly onFault: (error: unknown) => void;
}

/** Decides what becomes of a request whose key the upstream has refused, or may have. */
export class RefusedKeys {
  constructor(private readonly deps: RefusedKeysDeps) {}

  /**
   * Gives "again" when the request goes out with another key: at once, and whatever its method, for a request that was refused has done nothing. In place of one that is limited as
   * long as there is one; otherwise within the route's retries.
   * "answer" when the response is for the caller. Rejects with `PoolExhausted` or `CredentialRefused`, and gives the response up, when that would tell the caller of keys that are
   * not the caller's.
   */
  async decide(sending: Sending, use: CredentialUse, attempt: Attempt, response: UpstreamResponse): Promise<"again" | "answer"> {
    try {
      return await this.decided(sending, use, attempt.target, response.status);
    } catch (error) {
      attempt.giveUp(response);
      throw error;
    }
  }

  private async decided(sending: Sending, use: CredentialUse, target: Target, status: number): Promise<"again" | "answer"> {
    const { notes } = sending.exchange;
    const ask = (key: PoolKey) => this.statusOf(sending, target, key);
    const next = this.mayRepeat(sending, status) ? await nextKey(use) : "none";
    if (next === "taken") {
      if (status === LIMITED) sending.keyChanges++;
      return "again";
    }
    if (next === "same-refusal" && isDoubtful(status)) {
      use.repeated(ask, this.deps.onFault);
      // 403 is for the caller to read. What 401 and 402 say names the key, or the account.
      if (status === 403) return "answer";
      notes.trouble = `the upstream refused the request with two keys: ${status}`;
      throw new CredentialRefused(notes.trouble, status);
    }
    if (!(await use.confirmed(ask))) {
      notes.trouble = `the upstream refused the request, and is not known to refuse the key: ${status}`;
      throw new CredentialRefused(notes.trouble, status);
    }
    throw use.exhausted();
  }

  /**
   * Tells whether the request may go out with another key. In place of a limited one that is no retry: the upstream has not begun with the
   * request, and each such refusal has a key rest. Of other refusals it may be the cause itself.
   */
  private mayRepeat({ exchange, route: { retry, budget }, deadline, isRepeatable, turn, keyChanges }: Sending, status: number): boolean {
    if (!isRepeatable || exchange.isOver || this.deps.clock.now() >= deadline) return false;
    if (turn !== null || status === LIMITED) return true;
    return retry !== null && exchange.attempts - keyChanges < retry.attempts && budget.spend();
  }

  /** Asks a target whether it takes a key: by a request of our own, in which nothing is the caller's. Gives the answer's status; `null` when there was none. */
  private async statusOf({ exchange, route, upstream }: Sending, target: Target, key: PoolKey): Promise<number | null> {
    const { credential, requestRules, setsHost } = route;
    if (credential === null) return null;
    const path = target.basePath + (credential.probe ?? `${route.addPrefix}${route.strip === 0 ? prefixOf(route.path) : ""}/models`);
    // Anthropic's interface asks for its version before anything else.
    const version = exchange.incoming.head.fields.get("anthropic-version");
    const lines = version !== null && /^\d{4}-\d\d-\d\d$/.test(version) ? `Anthropic-Version: ${version}\r\n` : "";
    const host = setsHost ? "" : `Host: ${target.host}\r\n`;
    const call = this.deps.client.send(target.origin, {
      method: "GET",
      head: `GET ${path} HTTP/1.1\r\n${host}${requestRules.lines}User-Agent: Sluice\r\nAccept: application/json\r\n${lines}${credentialLine(credential, key)}\r\n`,
      body: null,
      chunked: false,
      upgrade: false,
      connectTimeout: Math.min(upstream.connectTimeout, PROBE_TIMEOUT),
      timeout: PROBE_TIMEOUT,
      bodyTimeout: PROBE_TIMEOUT,
    });
    return call.response.then(
      (response) => {
        discard(response);
        return response.status;
      },
      () => null,
    );
  }
}

/** Takes another key in place of the refused one, where the refusal may be about that and there is one. */
async function nextKey(use: CredentialUse): Promise<"taken" | "same-refusal" | "none"> {
  try {
    return (await use.next()) ? "taken" : "same-refusal";
  } catch (error) {
    if (error instanceof PoolExhausted) return "none";
    throw error;
  }
}
