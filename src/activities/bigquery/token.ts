import type { Clock } from "../../values/clock.ts";
import { isObject } from "../../values/json.ts";
import { SinkAway } from "../sinks/sink.ts";

/** What the tokens are for. bigquery.insertdata would do for rows, but not for making tables. */
const SCOPE = "https://www.googleapis.com/auth/bigquery";
const TOKEN_URI = "https://oauth2.googleapis.com/token";
/** The longest time that Google lets an assertion live, in seconds. */
const LIFETIME = 3600;
/** Tokens are renewed this long before they end, in milliseconds. */
const MARGIN = 300_000;
const TIMEOUT = 30_000;

interface ServiceAccount {
  readonly email: string;
  readonly keyId: string;
  readonly key: string;
  readonly tokenUri: string;
}

export interface GoogleTokenDeps {
  /** The file of a service account's key; `null`: the metadata server is asked. */
  readonly credentials: string | null;
  /** The host, with its port where it has one, of the metadata server. */
  readonly metadataHost: string;
  readonly clock: Clock;
}

/**
 * Gets access tokens for BigQuery: by a service account's key (https://developers.google.com/identity/protocols/oauth2/service-account), or
 * from Google's metadata server. Throws `SinkAway` when there is none to be had; what it says holds neither key nor token.
 */
export class GoogleToken {
  private token: { readonly text: string; readonly until: number } | null = null;
  private pending: Promise<string> | null = null;
  private email: string | null = null;

  constructor(private readonly deps: GoogleTokenDeps) {}

  /** Names the account, for people. */
  get who(): string {
    return this.email ?? "the machine's service account";
  }

  /** Gives a token that is good for some minutes at least. */
  async get(): Promise<string> {
    if (this.token !== null && this.deps.clock.now() < this.token.until) return this.token.text;
    this.pending ??= this.fetch().finally(() => {
      this.pending = null;
    });
    return await this.pending;
  }

  /** Forgets a token that was refused; a newer one stays. */
  refused(text: string): void {
    if (this.token?.text === text) this.token = null;
  }

  private async fetch(): Promise<string> {
    const { credentials, clock } = this.deps;
    const now = clock.now();
    const answer = credentials === null ? await this.fromMetadata() : await this.fromKey(credentials);
    const { access_token: text, expires_in: seconds } = answer;
    if (typeof text !== "string" || typeof seconds !== "number")
      throw new SinkAway("Google's token service gave an answer without a token");
    // One that lives for a few minutes only is used for half of its life.
    this.token = { text, until: now + Math.max(seconds * 1000 - MARGIN, seconds * 500) };
    return text;
  }

  private async fromMetadata(): Promise<Record<string, unknown>> {
    const url = `http://${this.deps.metadataHost}/computeMetadata/v1/instance/service-accounts/default/token?scopes=${encodeURIComponent(SCOPE)}`;
    const { status, body } = await ask(url, { headers: { "metadata-flavor": "Google" } }, "Google's metadata server");
    if (status === 200) return body;
    throw new SinkAway(
      `Google's metadata server gave no token (status ${status}): give this machine a service account, or name the file of a key in credentials`,
    );
  }

  private async fromKey(file: string): Promise<Record<string, unknown>> {
    const account = await readAccount(file);
    this.email = account.email;
    const form = new URLSearchParams({
      grant_type: "urn:ietf:params:oauth:grant-type:jwt-bearer",
      assertion: await sign(account, file, Math.floor(this.deps.clock.wall() / 1000)),
    });
    const { status, body } = await ask(account.tokenUri, { method: "POST", body: form }, "Google's token service");
    if (status === 200) return body;
    const why = [body.error, body.error_description].filter((part) => typeof part === "string").join(": ");
    throw new SinkAway(
      `Google's token service refuses the key of ${account.email} (status ${status}${why === "" ? "" : `, ${why}`}): check this machine's time, and whether the key and the account still exist`,
    );
  }
}

async function readAccount(file: string): Promise<ServiceAccount> {
  let found: unknown;
  try {
    found = JSON.parse(await Bun.file(file).text());
  } catch (error) {
    // What a parser says may quote the file.
    const why =
      error instanceof SyntaxError ? "it is not JSON" : error instanceof Error && "code" in error ? String(error.code) : "an error";
    throw new SinkAway(`the file of the credentials, ${file}, can't be read: ${why}`);
  }
  if (!isObject(found) || found.type !== "service_account")
    throw new SinkAway(`the file of the credentials, ${file}, must be a service account's key ("type": "service_account")`);
  const { client_email: email, private_key_id: keyId, private_key: key, token_uri: tokenUri = TOKEN_URI } = found;
  if (typeof email !== "string" || typeof keyId !== "string" || typeof key !== "string" || typeof tokenUri !== "string")
    throw new SinkAway(`the file of the credentials, ${file}, must have client_email, private_key_id and private_key`);
  return { email, keyId, key, tokenUri };
}

async function sign({ email, keyId, key, tokenUri }: ServiceAccount, file: string, now: number): Promise<string> {
  const algorithm = { name: "RSASSA-PKCS1-v1_5", hash: "SHA-256" };
  const claims = { scope: SCOPE, iss: email, aud: tokenUri, iat: now, exp: now + LIFETIME };
  const text = `${base64({ alg: "RS256", typ: "JWT", kid: keyId })}.${base64(claims)}`;
  try {
    const der = Buffer.from(key.replace(/-----(BEGIN|END) PRIVATE KEY-----|\s/g, ""), "base64");
    const signing = await crypto.subtle.importKey("pkcs8", der, algorithm, false, ["sign"]);
    const signature = await crypto.subtle.sign(algorithm.name, signing, Buffer.from(text));
    return `${text}.${Buffer.from(signature).toString("base64url")}`;
  } catch {
    throw new SinkAway(`the private_key in ${file} can't be used: it must be an RSA key as Google gives it (PEM, PKCS #8)`);
  }
}

const base64 = (value: object): string => Buffer.from(JSON.stringify(value)).toString("base64url");

async function ask(
  url: string,
  init: RequestInit,
  what: string,
): Promise<{ readonly status: number; readonly body: Record<string, unknown> }> {
  try {
    const response = await fetch(url, { ...init, redirect: "error", signal: AbortSignal.timeout(TIMEOUT) });
    const body: unknown = await response.json().catch(() => null);
    return { status: response.status, body: isObject(body) ? body : {} };
  } catch (error) {
    throw new SinkAway(`${what} can't be reached at ${URL.canParse(url) ? new URL(url).host : url}: ${codeOf(error)}`);
  }
}

/** Gives the word for what went wrong with a connection. */
export const codeOf = (error: unknown): string =>
  error instanceof Error ? ("code" in error && typeof error.code === "string" ? error.code : error.name) : "an error";
