import { isObject } from "../values/json.ts";
import { askIssuer, IssuerTrouble, type Refuses } from "./ask.ts";
import type { IntrospectionConfig } from "./settings.ts";
import type { Claims } from "./token.ts";

/** Milliseconds that an answer may take. */
const WITHIN = 5000;
/** The most questions to one issuer that are under way: further ones are not asked. */
const MAX_ASKING = 128;

/** Writes the Authorization field by which a client shows who it is (RFC 6749, section 2.3.1): both parts are encoded as in a form first. */
export function basicOf(clientId: string, clientSecret: string): string {
  const encoded = [clientId, clientSecret].map((part) => new URLSearchParams([["", part]]).toString().slice(1)).join(":");
  return `Basic ${Buffer.from(encoded).toString("base64")}`;
}

/** Says what an issuer answers about a token; `null`: that it is not good, or not one of its own. */
export type Introspected = { readonly claims: Claims | null } | { readonly trouble: string };

/**
 * Asks an issuer about tokens that are no JWTs (RFC 7662). Requests with the same token ask once. Whoever calls keeps the answers.
 */
export class Introspection {
  private readonly asking = new Map<string, Promise<Introspected>>();
  private readonly authorization: string;
  private readonly closing = new AbortController();

  constructor(
    private readonly config: IntrospectionConfig,
    /** Learns that the issuer gives no answer and why, or does again (`null`). */
    private readonly onChange: (trouble: string | null) => void,
    private readonly refuses: Refuses,
  ) {
    this.authorization = basicOf(config.clientId, config.clientSecret);
  }

  /** Asks about a token. `hash`: what tells it from others. */
  ask(token: string, hash: string): Promise<Introspected> {
    const underWay = this.asking.get(hash);
    if (underWay !== undefined) return underWay;
    if (this.asking.size >= MAX_ASKING) return Promise.resolve({ trouble: `${MAX_ASKING} tokens are asked about already` });
    const asked = this.answerAbout(token).finally(() => this.asking.delete(hash));
    this.asking.set(hash, asked);
    return asked;
  }

  close(): void {
    this.closing.abort();
  }

  private async answerAbout(token: string): Promise<Introspected> {
    const { endpoint } = this.config;
    try {
      const fields = new URLSearchParams({ token, token_type_hint: "access_token" });
      const signal = AbortSignal.any([AbortSignal.timeout(WITHIN), this.closing.signal]);
      const answer = await askIssuer({ url: endpoint, refuses: this.refuses, signal, form: { fields, authorization: this.authorization } });
      if (!isObject(answer) || typeof answer.active !== "boolean")
        throw new IssuerTrouble(`${endpoint} did not say whether the token is active`);
      this.onChange(null);
      return { claims: answer.active ? answer : null };
    } catch (error) {
      const trouble = error instanceof IssuerTrouble ? error.message : String(error);
      if (!this.closing.signal.aborted) this.onChange(trouble);
      return { trouble };
    }
  }
}
