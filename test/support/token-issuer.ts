import { exportJWK, generateKeyPair, type JWK, SignJWT } from "jose";
import { IssuerConfig } from "../../src/issuers/settings.ts";
import { fillIn } from "../../src/schema/fill-in.ts";

/** Gives an issuer's whole configuration, with its defaults. */
export const issuerConfig = (given: object): IssuerConfig => fillIn(IssuerConfig, given).value as IssuerConfig;

type Algorithm = "RS256" | "PS256" | "ES256" | "EdDSA" | "Ed25519";

/** A key by which tokens are signed, and the public half that is published. */
export interface SigningKey {
  readonly kid: string;
  readonly algorithm: Algorithm;
  readonly privateKey: CryptoKey;
  readonly published: JWK;
}

/** Makes a key. ES256 keys are made quickest. */
export async function signingKey(kid: string, algorithm: Algorithm = "ES256"): Promise<SigningKey> {
  const { publicKey, privateKey } = await generateKeyPair(algorithm, { extractable: true });
  return { kid, algorithm, privateKey, published: { ...(await exportJWK(publicKey)), kid, alg: algorithm, use: "sig" } };
}

export interface TokenGiven {
  readonly claims?: Record<string, unknown>;
  readonly header?: Record<string, unknown>;
  /** The key that signs; by default the issuer's newest. */
  readonly key?: SigningKey;
}

/**
 * Signs a token. By default it is for `api`, of `alice`, and good for an hour from `now` (milliseconds since 1970) on. Claims that are
 * `undefined` are left out.
 */
export function signed(key: SigningKey, issuer: string, now: number, { claims = {}, header = {} }: TokenGiven = {}): Promise<string> {
  const seconds = Math.floor(now / 1000);
  const all = { iss: issuer, aud: "api", sub: "alice", iat: seconds, exp: seconds + 3600, ...claims };
  const said = Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined));
  return new SignJWT(said).setProtectedHeader({ alg: key.algorithm, kid: key.kid, ...header } as { alg: string }).sign(key.privateKey);
}

/** A real issuer on a free port: it publishes keys, signs tokens by them, and is asked about others. */
export interface TestIssuer {
  readonly url: string;
  /** The keys that it publishes, the newest last. */
  readonly keys: SigningKey[];
  /** The tokens that it knows, for introspection, with their claims. */
  readonly opaque: Map<string, Record<string, unknown>>;
  /** The paths that it was asked for, oldest first. */
  readonly asked: string[];
  /** The forms and Authorization fields of introspection, oldest first. */
  readonly forms: { readonly form: string; readonly authorization: string | null }[];
  /** What it answers with in place of its keys; `null`: its keys. A promise is waited for. */
  answer: (() => Response | Promise<Response>) | null;
  token(given?: TokenGiven): Promise<string>;
  /** Publishes a new key in the place of all others, and signs by it. */
  rotate(): Promise<SigningKey>;
  /** Stops to listen, so that connections are refused, and listens again at the same port. */
  away(): Promise<void>;
  back(): void;
  [Symbol.dispose](): void;
}

/** Starts an issuer. `now` in milliseconds since 1970: when its tokens are made. */
export async function testIssuer(now: () => number = Date.now): Promise<TestIssuer> {
  const keys = [await signingKey("first")];
  const opaque = new Map<string, Record<string, unknown>>();
  const asked: string[] = [];
  const forms: { form: string; authorization: string | null }[] = [];
  const state = { answer: null as TestIssuer["answer"], rotations: 0 };
  const fetch = async (request: Request): Promise<Response> => {
    const { pathname, origin } = new URL(request.url);
    asked.push(pathname);
    switch (pathname) {
      case "/.well-known/openid-configuration":
        return Response.json({ issuer: origin, jwks_uri: `${origin}/jwks` });
      case "/jwks":
        return state.answer === null ? Response.json({ keys: keys.map(({ published }) => published) }) : state.answer();
      case "/introspect": {
        const form = await request.text();
        forms.push({ form, authorization: request.headers.get("authorization") });
        if (state.answer !== null) return state.answer();
        const known = opaque.get(new URLSearchParams(form).get("token") ?? "");
        return Response.json(known === undefined ? { active: false } : { active: true, ...known });
      }
      default:
        return new Response(null, { status: 404 });
    }
  };
  const listen = (port: number) => Bun.serve({ hostname: "127.0.0.1", port, development: false, fetch });
  let server = listen(0);
  const port = server.port ?? 0;
  const url = `http://127.0.0.1:${port}`;
  const newest = () => keys.at(-1) as SigningKey;
  return {
    ...{ url, keys, opaque, asked, forms },
    get answer() {
      return state.answer;
    },
    set answer(answer) {
      state.answer = answer;
    },
    token: (given = {}) => signed(given.key ?? newest(), url, now(), given),
    rotate: async () => {
      const key = await signingKey(`rotated-${++state.rotations}`);
      keys.splice(0, keys.length, key);
      return key;
    },
    away: () => server.stop(true),
    back: () => {
      server = listen(port);
    },
    [Symbol.dispose]: () => void server.stop(true),
  };
}

/** Waits until something holds. The test's own time limit stops what never does. */
export async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await holds())) await Bun.sleep(5);
}
