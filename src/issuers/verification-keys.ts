import { type CryptoKey, importJWK, type JWK } from "jose";
import { isObject } from "../values/json.ts";

/** The most keys that are taken of a set, and the most that are tried for a token that names none. */
const MAX_KEYS = 1000;
const MAX_TRIED = 8;

/** The kind of key that each algorithm takes, and its curve. A key of another kind is never tried: no token chooses what it is checked by. */
const NEEDS: Readonly<Record<string, { readonly kty: string; readonly crv?: string }>> = {
  RS256: { kty: "RSA" },
  RS384: { kty: "RSA" },
  RS512: { kty: "RSA" },
  PS256: { kty: "RSA" },
  PS384: { kty: "RSA" },
  PS512: { kty: "RSA" },
  ES256: { kty: "EC", crv: "P-256" },
  ES384: { kty: "EC", crv: "P-384" },
  ES512: { kty: "EC", crv: "P-521" },
  EdDSA: { kty: "OKP", crv: "Ed25519" },
  Ed25519: { kty: "OKP", crv: "Ed25519" },
};

/** Holds one public key of an issuer. */
export class VerificationKey {
  private readonly imported = new Map<string, Promise<CryptoKey | null>>();

  constructor(private readonly jwk: Readonly<Record<string, unknown>>) {}

  get kid(): string | null {
    return typeof this.jwk.kid === "string" ? this.jwk.kid : null;
  }

  /** Tells whether the key may check signatures by this algorithm. */
  fits(algorithm: string): boolean {
    const { kty, crv, alg, use, key_ops: operations } = this.jwk;
    const needs = NEEDS[algorithm];
    if (needs === undefined || kty !== needs.kty || (needs.crv !== undefined && crv !== needs.crv)) return false;
    if (alg !== undefined && alg !== algorithm && !(needs.kty === "OKP" && (alg === "EdDSA" || alg === "Ed25519"))) return false;
    return (use === undefined || use === "sig") && (!Array.isArray(operations) || operations.includes("verify"));
  }

  /** Gives the key, ready for this algorithm; `null` when it is none, which is found out once. */
  ready(algorithm: string): Promise<CryptoKey | null> {
    let key = this.imported.get(algorithm);
    if (key === undefined) {
      key = readyKey(this.jwk, algorithm);
      this.imported.set(algorithm, key);
    }
    return key;
  }
}

async function readyKey({ kty, n, e, crv, x, y }: Readonly<Record<string, unknown>>, algorithm: string): Promise<CryptoKey | null> {
  try {
    // The public part alone: an issuer that publishes its private key by mistake is checked by the same.
    const key = await importJWK((kty === "RSA" ? { kty, n, e } : { kty, crv, x, ...(y === undefined ? {} : { y }) }) as JWK, algorithm);
    if (key instanceof Uint8Array) return null;
    // RFC 7518, section 3.3: a shorter one is no proof.
    const { modulusLength } = key.algorithm as { readonly modulusLength?: number };
    return modulusLength !== undefined && modulusLength < 2048 ? null : key;
  } catch {
    return null;
  }
}

/** Holds the public keys of an issuer as they were published at one time. */
export class VerificationKeys {
  private readonly byKid = new Map<string, VerificationKey[]>();
  private readonly all: readonly VerificationKey[];

  private constructor(keys: readonly VerificationKey[]) {
    this.all = keys;
    for (const key of keys) {
      if (key.kid === null) continue;
      const same = this.byKid.get(key.kid);
      if (same === undefined) this.byKid.set(key.kid, [key]);
      else if (same.length < MAX_TRIED) same.push(key);
    }
  }

  /** Reads a JSON Web Key Set (RFC 7517, section 5). Gives what is wrong with it as text. */
  static read(set: unknown): VerificationKeys | string {
    if (!isObject(set) || !Array.isArray(set.keys)) return "is no key set: it has no list of keys";
    const keys = set.keys
      .slice(0, MAX_KEYS)
      .filter(isObject)
      .map((jwk) => new VerificationKey(jwk));
    return keys.length === 0 ? "has no key in it" : new VerificationKeys(keys);
  }

  /** Tells whether a key has this name. */
  has(kid: string): boolean {
    return this.byKid.has(kid);
  }

  /**
   * Gives the keys by which a token may be checked; `null` when none has its `kid`. A token that names no key is checked by all that fit,
   * eight at most.
   */
  find(kid: string | null, algorithm: string): readonly VerificationKey[] | null {
    const keys = kid === null ? this.all : this.byKid.get(kid);
    return keys === undefined ? null : keys.filter((key) => key.fits(algorithm)).slice(0, MAX_TRIED);
  }
}
