import { createHash, createHmac, createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject, sign } from "node:crypto";

/** Holds the key of an account with an authority. */
export interface AccountKey {
  readonly key: KeyObject;
  /** The public half (RFC 7517). */
  readonly jwk: PublicJwk;
  /** Names the key (RFC 7638), base64url. */
  readonly thumbprint: string;
}

interface PublicJwk {
  readonly crv: string;
  readonly kty: string;
  readonly x: string;
  readonly y: string;
}

/** Says whose signature it is: that of an account, by its URL, or of a key that has none yet. */
export type Signer = { readonly kid: string } | { readonly jwk: PublicJwk };

export const base64url = (data: string | Uint8Array): string => Buffer.from(data as Uint8Array).toString("base64url");

/** Makes a private key on the curve P-256. */
export const newKey = (): KeyObject => generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey;

/** Writes a private key as PEM (PKCS #8). */
export const keyText = (key: KeyObject): string => key.export({ type: "pkcs8", format: "pem" }).toString();

/** Reads the key of an account from PEM. Throws where it is none on the curve P-256. */
export function accountKeyOf(pem: string): AccountKey {
  const key = createPrivateKey(pem);
  const { crv = "", kty = "", x = "", y = "" } = createPublicKey(key).export({ format: "jwk" });
  if (crv !== "P-256") throw new Error("the key of the account is none on the curve P-256");
  // RFC 7638 §3.2: these members, in this order, without white space.
  const jwk = { crv, kty, x, y };
  return { key, jwk, thumbprint: createHash("sha256").update(JSON.stringify(jwk)).digest("base64url") };
}

/** Signs a message to an authority (RFC 8555 §6.2). `payload`: `null` asks for what is at `url`; anything else is JSON. */
export function signed(key: KeyObject, signer: Signer, url: string, nonce: string, payload: object | null): string {
  const head = base64url(JSON.stringify({ alg: "ES256", nonce, url, ...signer }));
  const body = payload === null ? "" : base64url(JSON.stringify(payload));
  const signature = sign("sha256", Buffer.from(`${head}.${body}`), { key, dsaEncoding: "ieee-p1363" });
  return JSON.stringify({ protected: head, payload: body, signature: signature.toString("base64url") });
}

/** Signs an account's key with the key that its holder has with the authority already (RFC 8555 §7.3.4). `url`: that of new accounts. */
export function bound({ jwk }: AccountKey, { kid, hmacKey }: { readonly kid: string; readonly hmacKey: string }, url: string): object {
  const head = base64url(JSON.stringify({ alg: "HS256", kid, url }));
  const body = base64url(JSON.stringify(jwk));
  const signature = createHmac("sha256", Buffer.from(hmacKey, "base64url")).update(`${head}.${body}`).digest("base64url");
  return { protected: head, payload: body, signature };
}
