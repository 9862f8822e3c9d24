import { constants, type KeyObject, verify } from "node:crypto";
import {
  BIT_STRING,
  context,
  DerFault,
  type Element,
  INTEGER,
  identifierOf,
  integerOf,
  isTime,
  OBJECT_IDENTIFIER,
  Reader,
  SEQUENCE,
  timeOf,
  whole,
} from "../der.ts";
import { type DistinguishedName, extensionsOf, nameOf } from "./names.ts";

/** Holds a revocation list (RFC 5280 §5). Nothing of it is proven before `isSignedBy` has said so. */
export interface RevocationList {
  readonly issuer: DistinguishedName;
  /** Milliseconds since 1970; infinite where it does not say when the next one comes. */
  readonly nextAt: number;
  /** The serial numbers of what is revoked, hexadecimal. */
  readonly serials: ReadonlySet<string>;
  readonly isSignedBy: (key: KeyObject) => boolean;
}

/** Extensions with which a list says something else than "these of mine are revoked". */
const DELTA = "2.5.29.27";
const DISTRIBUTION_POINT = "2.5.29.28";

/** Reads a revocation list. Throws `DerFault`. */
export function readRevocationList(der: Uint8Array): RevocationList {
  const list = whole(der, SEQUENCE);
  const signed = list.next(SEQUENCE);
  const algorithm = list.next(SEQUENCE);
  const signature = list.next(BIT_STRING);
  const body = new Reader(signed.content);
  body.optional(INTEGER);
  body.next(SEQUENCE);
  const issuer = nameOf(body.next(SEQUENCE).bytes);
  if (isTime(body) === null) throw new DerFault("does not say when it was made");
  const next = isTime(body);
  const entries = body.optional(SEQUENCE);
  const extensions = body.optional(context(0));
  if (extensions !== null) refuseOthers(extensionsOf(extensions.content));
  const serials = new Set<string>();
  if (entries !== null)
    for (const entry of new Reader(entries.content).rest()) serials.add(integerOf(new Reader(entry.content).next(INTEGER)));
  return {
    ...{ issuer, serials, nextAt: next === null ? Number.POSITIVE_INFINITY : timeOf(next) },
    isSignedBy: checkOf(algorithm, signed.bytes, signature.content.subarray(1)),
  };
}

/** Refuses lists that are no whole list of what their issuer has revoked. */
function refuseOthers(extensions: ReadonlyMap<string, Uint8Array>): void {
  if (extensions.has(DELTA)) throw new DerFault("says only what has changed since another list (a delta list): put the whole list there");
  const point = extensions.get(DISTRIBUTION_POINT);
  if (point === undefined) return;
  for (const { tag, content } of whole(point, SEQUENCE).rest())
    if (tag === context(4, false) && content[0] !== 0)
      throw new DerFault("speaks for other authorities (an indirect list), which is not supported");
}

/** The algorithms of signatures (RFC 8017, RFC 5758, RFC 8410), by the hash that Node's `verify` wants. */
const HASHES: Readonly<Record<string, string | null>> = {
  "1.2.840.113549.1.1.11": "sha256",
  "1.2.840.113549.1.1.12": "sha384",
  "1.2.840.113549.1.1.13": "sha512",
  "1.2.840.10045.4.3.2": "sha256",
  "1.2.840.10045.4.3.3": "sha384",
  "1.2.840.10045.4.3.4": "sha512",
  "1.3.101.112": null,
};
const PSS = "1.2.840.113549.1.1.10";
const DIGESTS: Readonly<Record<string, string>> = {
  "2.16.840.1.101.3.4.2.1": "sha256",
  "2.16.840.1.101.3.4.2.2": "sha384",
  "2.16.840.1.101.3.4.2.3": "sha512",
};

/** Gives what checks a signature. Throws `DerFault` for an algorithm that is not trusted, or not known. */
function checkOf(algorithm: Element, signed: Uint8Array, signature: Uint8Array): (key: KeyObject) => boolean {
  const reader = new Reader(algorithm.content);
  const type = identifierOf(reader.next(OBJECT_IDENTIFIER));
  const isPss = type === PSS;
  const hash = isPss ? digestOfPss(reader) : HASHES[type];
  if (hash === undefined) throw new DerFault(`is signed in a way that is not taken (${type}): use SHA-256 or better`);
  return (key) => {
    try {
      const padded = isPss ? { key, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_AUTO } : key;
      return verify(hash, signed, padded, signature);
    } catch {
      // A key of another kind.
      return false;
    }
  };
}

/** Gives the hash that RSASSA-PSS names among its parameters (RFC 4055 §3.1); without one it is SHA-1. */
function digestOfPss(reader: Reader): string | undefined {
  const hash = new Reader(reader.next(SEQUENCE).content).optional(context(0));
  return hash === null ? undefined : DIGESTS[identifierOf(whole(hash.content, SEQUENCE).next(OBJECT_IDENTIFIER))];
}
