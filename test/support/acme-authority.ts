import { createHash, createPublicKey, generateKeyPairSync, type KeyObject, randomBytes, sign, verify } from "node:crypto";
import {
  BIT_STRING,
  context,
  type Element,
  INTEGER,
  OCTET_STRING,
  objectIdentifier,
  read,
  SEQUENCE,
  SET,
  write,
} from "../../src/edge/der.ts";
import { CERTIFICATE, PRIVATE_KEY } from "./tls.ts";

/** What it is asked, and what a test may have it say. */
export interface Authority {
  readonly directory: string;
  /** The port at which it looks for challenges. */
  httpPort: number;
  /** The life of what it gives, in milliseconds since 1970. */
  life: { readonly beginsAt: number; readonly endsAt: number };
  /** Answers in its place, where it gives an answer: by the last word of the URL's path and what was sent. */
  instead: (what: string, payload: unknown) => Response | null;
  /** What it says about renewals; `null`: it has no such thing. */
  window: { readonly start: number; readonly end: number; readonly after?: number } | null;
  profiles: readonly string[];
  /** The paths and contents that it was asked, in order. */
  readonly asked: { readonly what: string; readonly payload: unknown }[];
  /** The accounts that it knows, by their URLs, with the addresses. */
  readonly accounts: Map<string, { readonly jwk: Jwk; contact: readonly string[] }>;
  [Symbol.dispose](): void;
}

interface Jwk {
  readonly crv: string;
  readonly kty: string;
  readonly x: string;
  readonly y: string;
}

interface Order {
  status: "pending" | "ready" | "valid" | "invalid";
  readonly host: string;
  readonly token: string;
  proven: boolean | null;
  error: object | null;
  pem: string | null;
}

const PROBLEM = "urn:ietf:params:acme:error:";

/** Makes an answer that refuses. */
export const refusal = (kind: string, detail: string, status = 400, headers: Record<string, string> = {}): Response =>
  Response.json({ type: `${PROBLEM}${kind}`, detail }, { status, headers: { "Content-Type": "application/problem+json", ...headers } });

/**
 * An authority of the test's own (RFC 8555, RFC 9773, profiles), for what pebble can't do: it checks signatures, nonces and challenges, and gives certificates
 * that live as long as the test wants.
 */
export function authority(options: Partial<Pick<Authority, "httpPort" | "life" | "window" | "profiles">> = {}): Authority {
  const issuer = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const nonces = new Set<string>();
  const orders = new Map<string, Order>();
  const accounts: Authority["accounts"] = new Map();
  const asked: Authority["asked"] = [];
  const state: Omit<Authority, "directory" | typeof Symbol.dispose> = {
    ...{ httpPort: 1, window: null, profiles: [], instead: () => null, asked, accounts },
    life: { beginsAt: Date.now(), endsAt: Date.now() + 90 * 86_400_000 },
    ...options,
  };
  const origin = (): string => `https://127.0.0.1:${server.port}`;
  const orderBody = (id: string, { status, error, pem }: Order): object => ({
    ...{ status, authorizations: [`${origin()}/authorization/${id}`], finalize: `${origin()}/finalize/${id}` },
    ...(pem === null ? {} : { certificate: `${origin()}/certificate/${id}` }),
    ...(error === null ? {} : { error }),
  });
  const look = async (order: Order, thumbprint: string): Promise<void> => {
    const url = `http://127.0.0.1:${state.httpPort}/.well-known/acme-challenge/${order.token}`;
    const found = await fetch(url, { headers: { Host: order.host.includes(":") ? `[${order.host}]` : order.host }, keepalive: false }).then(
      (answer) => answer.text(),
      () => null,
    );
    order.proven = found === `${order.token}.${thumbprint}`;
    order.status = order.proven ? "ready" : "invalid";
  };
  const act = async (what: string, id: string, payload: Record<string, unknown> | null, account: string): Promise<Response> => {
    const order = orders.get(id);
    if (what === "new-order") {
      const made = randomBytes(8).toString("hex");
      const [{ value: host } = { value: "" }] = (payload?.identifiers ?? []) as { value: string }[];
      orders.set(made, { host, token: randomBytes(32).toString("base64url"), status: "pending", proven: null, error: null, pem: null });
      return Response.json(orderBody(made, orders.get(made) as Order), { status: 201, headers: { Location: `${origin()}/order/${made}` } });
    }
    if (order === undefined) return refusal("malformed", "there is no such thing", 404);
    if (what === "order") return Response.json(orderBody(id, order));
    if (what === "authorization") {
      const status = order.proven === null ? "pending" : order.proven ? "valid" : "invalid";
      const error =
        order.proven === false ? { error: { type: `${PROBLEM}unauthorized`, detail: "the answer is not as it should be" } } : {};
      const challenge = { type: "http-01", url: `${origin()}/challenge/${id}`, token: order.token, status, ...error };
      return Response.json({ status, identifier: { type: "dns", value: order.host }, challenges: [challenge] });
    }
    if (what === "challenge") {
      await look(order, thumbprintOf((accounts.get(account) as { jwk: Jwk }).jwk));
      return Response.json({});
    }
    if (what === "finalize") {
      const csr = Buffer.from(String(payload?.csr), "base64url");
      order.pem = certificateFor(csr, state.life, issuer);
      order.status = "valid";
      return Response.json(orderBody(id, order));
    }
    return new Response(order.pem, { headers: { "Content-Type": "application/pem-certificate-chain" } });
  };
  const take = async (request: Request, what: string, id: string): Promise<Response> => {
    const { protected: head, payload: body, signature } = (await request.json()) as Record<"protected" | "payload" | "signature", string>;
    const { nonce, kid, jwk: shown, url } = JSON.parse(Buffer.from(head, "base64url").toString());
    const payload = body === "" ? null : JSON.parse(Buffer.from(body, "base64url").toString());
    asked.push({ what, payload });
    const instead = state.instead(what, payload);
    if (instead !== null) return instead;
    if (!nonces.delete(nonce)) return refusal("badNonce", "this nonce is not known");
    const account = accounts.get(kid);
    const jwk: Jwk | undefined = shown ?? account?.jwk;
    if (jwk === undefined) return refusal("accountDoesNotExist", "there is no such account");
    const key = createPublicKey({ key: { ...jwk }, format: "jwk" });
    const isSigned = verify(
      "sha256",
      Buffer.from(`${head}.${body}`),
      { key, dsaEncoding: "ieee-p1363" },
      Buffer.from(signature, "base64url"),
    );
    if (!isSigned || url !== request.url) return refusal("malformed", "the signature is not good", 403);
    if (what === "new-account") {
      const place = `${origin()}/account/${thumbprintOf(jwk)}`;
      accounts.set(place, { jwk, contact: payload?.contact ?? [] });
      return Response.json({ status: "valid" }, { status: 201, headers: { Location: place } });
    }
    if (what === "account" && account !== undefined) {
      account.contact = payload?.contact ?? account.contact;
      return Response.json({ status: "valid" });
    }
    return act(what, id, payload, kid);
  };
  const server = Bun.serve({
    ...{ hostname: "127.0.0.1", port: 0, tls: { cert: CERTIFICATE, key: PRIVATE_KEY } },
    fetch: async (request) => {
      const [, what = "", id = ""] = new URL(request.url).pathname.split("/");
      const nonce = randomBytes(16).toString("base64url");
      const answer = await answerTo(request, what, id);
      nonces.add(nonce);
      answer.headers.set("Replay-Nonce", nonce);
      return answer;
    },
  });
  const answerTo = async (request: Request, what: string, id: string): Promise<Response> => {
    if (request.method === "POST") return take(request, what, id);
    asked.push({ what, payload: id === "" ? null : id });
    const instead = state.instead(what, null);
    if (instead !== null) return instead;
    if (what === "renewal" && state.window !== null) {
      const { start, end, after } = state.window;
      const suggestedWindow = { start: new Date(start).toISOString(), end: new Date(end).toISOString() };
      return Response.json(
        { suggestedWindow, explanationURL: "https://example.org/why" },
        { headers: after === undefined ? {} : { "Retry-After": String(after) } },
      );
    }
    if (what !== "directory") return new Response(null, { status: what === "new-nonce" ? 200 : 404 });
    return Response.json({
      ...{ newNonce: `${origin()}/new-nonce`, newAccount: `${origin()}/new-account`, newOrder: `${origin()}/new-order` },
      ...(state.window === null ? {} : { renewalInfo: `${origin()}/renewal` }),
      meta: { profiles: Object.fromEntries(state.profiles.map((name) => [name, "a kind"])) },
    });
  };
  return Object.assign(state, {
    directory: `${origin()}/directory`,
    [Symbol.dispose]: () => void server.stop(true),
  });
}

const thumbprintOf = ({ crv, kty, x, y }: Jwk): string =>
  createHash("sha256").update(JSON.stringify({ crv, kty, x, y })).digest("base64url");

const EMPTY = new Uint8Array();
const contentOf = (element: Element | undefined): Uint8Array => element?.content ?? EMPTY;

/** Signs what a request asks for (RFC 5280), with the extensions of the request. */
function certificateFor(csr: Buffer, life: Authority["life"], issuer: { readonly privateKey: KeyObject }): string {
  const [info] = read(contentOf(read(csr)[0]));
  const [, , spki, attributes] = read(contentOf(info));
  const [, values] = read(contentOf(read(contentOf(attributes))[0]));
  const extensions = contentOf(read(contentOf(values))[0]);
  const keyId = createHash("sha1")
    .update(issuer.privateKey.export({ type: "pkcs8", format: "der" }))
    .digest();
  const authorityKeyId = write(
    SEQUENCE,
    objectIdentifier("2.5.29.35"),
    write(OCTET_STRING, write(SEQUENCE, write(context(0, false), keyId))),
  );
  const algorithm = write(SEQUENCE, objectIdentifier("1.2.840.10045.4.3.2"));
  const name = write(SEQUENCE, write(SET, write(SEQUENCE, objectIdentifier("2.5.4.3"), write(0x0c, Buffer.from("an authority of tests")))));
  const content = write(
    SEQUENCE,
    write(context(0, true), write(INTEGER, Buffer.of(2))),
    write(INTEGER, Buffer.concat([Buffer.of(1), randomBytes(8)])),
    algorithm,
    name,
    write(SEQUENCE, timeOf(life.beginsAt), timeOf(life.endsAt)),
    write(SEQUENCE),
    write(SEQUENCE, contentOf(spki)),
    write(context(3, true), write(SEQUENCE, extensions, authorityKeyId)),
  );
  const signature = write(BIT_STRING, Buffer.of(0), sign("sha256", content, issuer.privateKey));
  const lines = write(SEQUENCE, content, algorithm, signature)
    .toString("base64")
    .replace(/.{1,64}/g, "$&\n");
  return `-----BEGIN CERTIFICATE-----\n${lines}-----END CERTIFICATE-----\n`;
}

/** GeneralizedTime. */
const timeOf = (at: number): Buffer =>
  write(
    0x18,
    Buffer.from(
      `${new Date(at)
        .toISOString()
        .replace(/\.\d+Z$/, "Z")
        .replace(/[-:T]/g, "")}`,
    ),
  );
