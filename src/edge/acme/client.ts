import { VERSION } from "../../version.ts";
import { type AccountKey, bound, type Signer, signed } from "./jws.ts";
import { retryAfter } from "./schedule.ts";
import { AcmeTrouble, troubleOf, type WireProblem } from "./trouble.ts";

export interface AcmeClientDeps {
  /** The URL of the authority's directory. */
  readonly directory: string;
  /** The authorities, PEM, by which its own certificate is checked; `null`: those of the system. */
  readonly ca: string | null;
  readonly account: AccountKey;
  /** Ends everything that is under way. */
  readonly signal: AbortSignal;
}

/** Holds where an authority takes what (RFC 8555 §7.1.1). */
export interface Directory {
  readonly newNonce: string;
  readonly newAccount: string;
  readonly newOrder: string;
  /** Where it says when to renew (RFC 9773); `null`: it does not. */
  readonly renewalInfo: string | null;
  readonly termsOfService: string | null;
  readonly wantsBinding: boolean;
  /** The kinds of certificates that may be asked for (draft-ietf-acme-profiles). */
  readonly profiles: readonly string[];
}

/** Holds an answer of an authority. */
export interface AcmeAnswer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
}

/** Milliseconds that an answer may take. */
const ANSWER_WITHIN = 30_000;
/** The longest answer that is read, in bytes: a chain is a few thousand. */
const MAX_ANSWER = 1024 * 1024;
/** Refused nonces in a row after which it is given up. An authority of several machines may refuse some, and pebble refuses half of them to try us. */
const MAX_NONCES = 25;
/** Nonces that are kept for later; the latest is used first. */
const KEPT_NONCES = 4;
/** Milliseconds for which a directory is believed. */
const DIRECTORY_FOR = 86_400_000;

/** Talks to an authority in the name of one account (RFC 8555). All calls reject with `AcmeTrouble`. */
export class AcmeClient {
  private readonly nonces: string[] = [];
  private known: { readonly directory: Directory; readonly until: number } | null = null;

  constructor(private readonly deps: AcmeClientDeps) {}

  get account(): AccountKey {
    return this.deps.account;
  }

  get signal(): AbortSignal {
    return this.deps.signal;
  }

  /** Gives the authority's directory, which is fetched once a day. */
  async directory(): Promise<Directory> {
    if (this.known !== null && performance.now() < this.known.until) return this.known.directory;
    const directory = directoryOf(await this.get(this.deps.directory), this.deps.directory);
    this.known = { directory, until: performance.now() + DIRECTORY_FOR };
    return directory;
  }

  /**
   * Gives the URL of the account of this key, which is made where there is none (RFC 8555 §7.3). `binding`: the key that binds it to one that there is with the
   * authority.
   */
  async register(email: string | null, binding: { readonly kid: string; readonly hmacKey: string } | null): Promise<string> {
    const { newAccount, wantsBinding } = await this.directory();
    if (wantsBinding && binding === null)
      throw new AcmeTrouble("the authority wants an external account: set server.tls.acme.eab to the key that it gave you");
    const { headers } = await this.send(
      newAccount,
      {
        termsOfServiceAgreed: true,
        contact: contactOf(email),
        ...(binding === null ? {} : { externalAccountBinding: bound(this.account, binding, newAccount) }),
      },
      { jwk: this.account.jwk },
    );
    const url = headers.get("location");
    if (url === null) throw new AcmeTrouble("the authority made an account and does not say where it is");
    return url;
  }

  /** Tells the authority another address of the account. */
  async rename(account: string, email: string | null): Promise<void> {
    await this.post(account, account, { contact: contactOf(email) });
  }

  /** Sends a signed message in the account's name. `payload`: `null` asks for what is at `url`. */
  post(account: string, url: string, payload: object | null): Promise<AcmeAnswer> {
    return this.send(url, payload, { kid: account });
  }

  /** Gives what is at a URL, unsigned. */
  async get(url: string): Promise<AcmeAnswer> {
    const answer = await this.fetch(url, { method: "GET" });
    if (!isGood(answer)) throw refusalOf(answer);
    return answer;
  }

  private async send(url: string, payload: object | null, signer: Signer): Promise<AcmeAnswer> {
    for (let tries = 1; ; tries++) {
      const nonce = this.nonces.pop() ?? (await this.freshNonce());
      const body = signed(this.account.key, signer, url, nonce, payload);
      const answer = await this.fetch(url, { method: "POST", headers: { "Content-Type": "application/jose+json" }, body });
      if (isGood(answer)) return answer;
      const trouble = refusalOf(answer);
      // The refusal has brought another one (RFC 8555 §6.5).
      if (trouble.kind !== "badNonce" || tries >= MAX_NONCES) throw trouble;
    }
  }

  private async freshNonce(): Promise<string> {
    const { newNonce } = await this.directory();
    const kept = this.nonces.pop();
    if (kept !== undefined) return kept;
    const answer = await this.fetch(newNonce, { method: "HEAD" });
    const nonce = this.nonces.pop();
    if (nonce === undefined) throw isGood(answer) ? new AcmeTrouble("the authority gives no nonce") : refusalOf(answer);
    return nonce;
  }

  private async fetch(url: string, init: { method: string; headers?: Record<string, string>; body?: string }): Promise<AcmeAnswer> {
    const { ca, signal } = this.deps;
    let answer: AcmeAnswer;
    try {
      const response = await fetch(url, {
        ...init,
        headers: { "User-Agent": `sluice/${VERSION}`, "Accept-Language": "en", ...init.headers },
        redirect: "manual",
        // Minutes lie between most questions: a kept connection would often be one that the authority has closed.
        keepalive: false,
        signal: AbortSignal.any([signal, AbortSignal.timeout(ANSWER_WITHIN)]),
        ...(ca === null ? {} : { tls: { ca } }),
      });
      answer = { status: response.status, headers: response.headers, text: await textOf(response) };
    } catch (error) {
      if (error instanceof AcmeTrouble || signal.aborted) throw error;
      throw new AcmeTrouble(`${url} can't be asked: ${reasonOf(error)}`);
    }
    const nonce = answer.headers.get("replay-nonce");
    if (nonce !== null) {
      this.nonces.push(nonce);
      if (this.nonces.length > KEPT_NONCES) this.nonces.shift();
    }
    return answer;
  }
}

const contactOf = (email: string | null): string[] => (email === null ? [] : [`mailto:${email}`]);

const isGood = ({ status }: AcmeAnswer): boolean => status >= 200 && status < 300;

function refusalOf({ status, headers, text }: AcmeAnswer): AcmeTrouble {
  const wait = retryAfter(headers.get("retry-after"), Date.now());
  let problem: WireProblem = {};
  try {
    problem = { ...(JSON.parse(text) as WireProblem | null) };
  } catch {
    // A machine before the authority answers as it likes.
  }
  return troubleOf(problem, status, wait);
}

/** Reads the JSON of an answer. */
export function jsonOf<T extends object>({ text }: AcmeAnswer, what: string): Partial<T> {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === "object" && value !== null) return value as Partial<T>;
  } catch {
    // It is told below.
  }
  throw new AcmeTrouble(`the authority sends no ${what} that can be read`);
}

function directoryOf(answer: AcmeAnswer, url: string): Directory {
  const { meta, ...urls } = jsonOf<Record<string, unknown>>(answer, "directory");
  const urlOf = (name: string): string => {
    const value = urls[name];
    if (typeof value !== "string") throw new AcmeTrouble(`${url} is no directory of ACME (RFC 8555): it names no ${name}`);
    return value;
  };
  const about = (typeof meta === "object" && meta !== null ? meta : {}) as Record<string, unknown>;
  return {
    newNonce: urlOf("newNonce"),
    newAccount: urlOf("newAccount"),
    newOrder: urlOf("newOrder"),
    renewalInfo: typeof urls.renewalInfo === "string" ? urls.renewalInfo : null,
    termsOfService: typeof about.termsOfService === "string" ? about.termsOfService : null,
    wantsBinding: about.externalAccountRequired === true,
    profiles: typeof about.profiles === "object" && about.profiles !== null ? Object.keys(about.profiles) : [],
  };
}

async function textOf(response: Response): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  let length = 0;
  for await (const chunk of response.body ?? []) {
    length += chunk.length;
    if (length > MAX_ANSWER) throw new AcmeTrouble(`the authority's answer is longer than ${MAX_ANSWER} bytes`);
    text += decoder.decode(chunk, { stream: true });
  }
  return text + decoder.decode();
}

function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  if (error.name === "TimeoutError") return `there was no answer within ${ANSWER_WITHIN / 1000} s`;
  const { code } = error as { code?: unknown };
  return typeof code === "string" && !error.message.includes(code) ? `${error.message} (${code})` : error.message;
}

/** Waits for so many milliseconds. Rejects when `signal` is aborted. */
export function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, milliseconds);
  const end = (): void => reject(signal.reason);
  if (signal.aborted) end();
  else signal.addEventListener("abort", end);
  return promise.finally(() => {
    clearTimeout(timer);
    signal.removeEventListener("abort", end);
  });
}
