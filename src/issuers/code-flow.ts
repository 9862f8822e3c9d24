import { isObject } from "../values/json.ts";
import { hashKey, randomText } from "../values/key-format.ts";
import { askIssuer, IssuerTrouble } from "./ask.ts";
import { type Discovered, discover, placeIn } from "./discovery.ts";
import { basicOf } from "./introspection.ts";
import type { Issuer } from "./issuer.ts";
import { type Claims, readToken } from "./token.ts";

/** Says as whom Sluice signs people in by an issuer. */
export interface Client {
  readonly id: string;
  /** `null`: a client without a secret. */
  readonly secret: string | null;
  /** What is asked for besides `openid`. */
  readonly scopes: readonly string[];
  /** Where the issuer sends people back to. */
  readonly redirectUri: string;
}

/** Holds what one sign-in is known by when its browser comes back: each a text that nobody guesses. */
export interface Attempt {
  readonly state: string;
  readonly nonce: string;
  readonly verifier: string;
}

/** Milliseconds that an issuer may take to answer. */
const WITHIN = 5000;
/** Milliseconds for which what an issuer says of itself is kept, and for which it is not asked again when it has not said it. */
const KEPT = 10 * 60_000;
const AGAIN_AFTER = 2000;

/** Makes what tells one sign-in from all others. */
export const newAttempt = (): Attempt => ({ state: randomText(32), nonce: randomText(32), verifier: randomText(64) });

/** Gives the PKCE challenge of a verifier (RFC 7636, section 4.2, method S256). */
const challengeOf = (verifier: string): string => Buffer.from(hashKey(verifier), "hex").toString("base64url");

/** Signs people in by an issuer: the authorization code flow of OpenID Connect, with PKCE, state and nonce. */
export class CodeFlow {
  /** What an issuer has said of itself, and when it was asked; of the one that was asked last. */
  private known: { readonly issuer: Issuer; readonly at: number; readonly found: Promise<Discovered>; hasFailed: boolean } | null = null;

  /** `now`: of a clock that never runs backwards, in milliseconds. */
  constructor(private readonly now: () => number) {}

  /** Gives the URL where a sign-in begins. Throws `IssuerTrouble`. */
  async begin(issuer: Issuer, client: Client, { state, nonce, verifier }: Attempt): Promise<string> {
    const url = new URL(placeIn(await this.discovered(issuer), "authorization_endpoint"));
    const asked = {
      ...{ response_type: "code", client_id: client.id, redirect_uri: client.redirectUri },
      ...{ scope: [...new Set(["openid", ...client.scopes])].join(" "), state, nonce },
      ...{ code_challenge: challengeOf(verifier), code_challenge_method: "S256" },
    };
    for (const [name, value] of Object.entries(asked)) url.searchParams.set(name, value);
    return url.href;
  }

  /** Gives the claims of who has come back with a code. `now` in milliseconds since 1970. Throws `IssuerTrouble`. */
  async finish(issuer: Issuer, client: Client, { nonce, verifier }: Attempt, code: string, now: number): Promise<Claims> {
    const url = placeIn(await this.discovered(issuer), "token_endpoint");
    const { id, secret, redirectUri } = client;
    const fields = new URLSearchParams({
      ...{ grant_type: "authorization_code", code, redirect_uri: redirectUri, code_verifier: verifier },
      ...(secret === null ? { client_id: id } : {}),
    });
    const form = { fields, authorization: secret === null ? null : basicOf(id, secret) };
    const answer = await askIssuer({ url, refuses: (to) => issuer.refuses(to), signal: AbortSignal.timeout(WITHIN), form });
    const token = isObject(answer) && typeof answer.id_token === "string" ? readToken(answer.id_token) : null;
    if (token === null) throw new IssuerTrouble(`${url} gave no ID token`);
    const fault = await issuer.idTokenFault(token, { clientId: id, nonce }, now);
    if (fault !== null) throw new IssuerTrouble(`${url} gave an ID token that is not good here: ${fault.why}`);
    return token.claims;
  }

  /** Asks an issuer what there is, once in a while, whoever wants to know. */
  private discovered(issuer: Issuer): Promise<Discovered> {
    const now = this.now();
    const { known } = this;
    if (known !== null && known.issuer === issuer && now - known.at < (known.hasFailed ? AGAIN_AFTER : KEPT)) return known.found;
    const found = discover(issuer.config.issuer, (url) => issuer.refuses(url), AbortSignal.timeout(WITHIN));
    const asked = { issuer, at: now, found, hasFailed: false };
    found.catch(() => {
      asked.hasFailed = true;
    });
    this.known = asked;
    return found;
  }
}
