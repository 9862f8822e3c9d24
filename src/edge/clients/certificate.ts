import { createHash } from "node:crypto";
import { context, DerFault, hex, INTEGER, integerOf, isTime, Reader, SEQUENCE, timeOf, whole } from "../der.ts";
import { type DistinguishedName, extensionsOf, nameOf, type OtherNames, otherNames } from "./names.ts";

/** Holds what is read from a certificate (RFC 5280 §4.1). Nothing of it is proven by reading it. */
export interface ReadCertificate {
  /** SHA-256 of all its bytes, hexadecimal. */
  readonly fingerprint: string;
  /** Hexadecimal, without zeros before it. */
  readonly serial: string;
  readonly issuer: DistinguishedName;
  readonly subject: DistinguishedName;
  /** Milliseconds since 1970. */
  readonly startsAt: number;
  readonly endsAt: number;
  readonly others: OtherNames;
}

const SUBJECT_ALT_NAME = "2.5.29.17";
const NO_OTHERS: OtherNames = { uri: [], dns: [], email: [] };

/** Reads a certificate. Throws `DerFault`. */
export function readCertificate(der: Uint8Array): ReadCertificate {
  const body = whole(whole(der, SEQUENCE).next(SEQUENCE).bytes, SEQUENCE);
  body.optional(context(0));
  const serial = integerOf(body.next(INTEGER));
  // The algorithm of the signature, which stands behind the body again.
  body.next(SEQUENCE);
  const issuer = nameOf(body.next(SEQUENCE).bytes);
  const validity = new Reader(body.next(SEQUENCE).content);
  const [startsAt, endsAt] = [isTime(validity), isTime(validity)].map((time) => (time === null ? null : timeOf(time)));
  if (startsAt == null || endsAt == null) throw new DerFault("does not say when it is valid");
  const subject = nameOf(body.next(SEQUENCE).bytes);
  // The key.
  body.next(SEQUENCE);
  body.optional(context(1, false));
  body.optional(context(2, false));
  const extensions = body.optional(context(3));
  const names = extensions === null ? undefined : extensionsOf(extensions.content).get(SUBJECT_ALT_NAME);
  return {
    fingerprint: hex(createHash("sha256").update(der).digest()),
    ...{ serial, issuer, subject, startsAt, endsAt },
    others: names === undefined ? NO_OTHERS : otherNames(names),
  };
}
