import { createHash, createPrivateKey, X509Certificate } from "node:crypto";
import { createSecureContext } from "node:tls";
import { normaliseIp } from "../../values/ip.ts";
import type { ServedCertificate } from "../certificates.ts";
import { context, INTEGER, read } from "../der.ts";
import type { Life } from "./schedule.ts";

/** Holds a certificate that was ordered. */
export interface Held extends Life {
  readonly host: string;
  /** The chain, its own certificate first, and the key; PEM. */
  readonly cert: string;
  readonly key: string;
  readonly names: readonly string[];
  /** Tells it from all others: the digest of the certificate. */
  readonly print: string;
  /** Names it to its authority (RFC 9773 §4.1); `null`: it does not say whose it is. */
  readonly id: string | null;
}

const BLOCKS = /-----BEGIN ([A-Z ]+)-----[A-Za-z0-9+/=\s]+-----END \1-----/g;

/**
 * Reads a key and a chain that stand in one text. Throws, with a sentence that says why, where they don't belong together, are not for `host`, or can't
 * be read.
 */
export function heldOf(host: string, pem: string): Held {
  const blocks = [...pem.matchAll(BLOCKS)];
  const textOf = (isOne: (kind: string) => boolean): string[] => blocks.flatMap(([text, kind = ""]) => (isOne(kind) ? [`${text}\n`] : []));
  const chain = textOf((kind) => kind === "CERTIFICATE");
  const [key = "", second] = textOf((kind) => kind.endsWith("PRIVATE KEY"));
  const [first] = chain;
  if (first === undefined) throw new Error("there is no certificate in it");
  if (key === "" || second !== undefined) throw new Error("there is not exactly one private key in it");
  const certificate = new X509Certificate(first);
  if (!certificate.checkPrivateKey(createPrivateKey(key))) throw new Error("the key is not the certificate's");
  const names = namesOf(certificate);
  if (!names.includes(host)) throw new Error(`the certificate is for ${names.join(", ") || "nobody"}, not for ${host}`);
  const beginsAt = Date.parse(certificate.validFrom);
  const endsAt = Date.parse(certificate.validTo);
  if (!(beginsAt < endsAt)) throw new Error("the certificate's times can't be read");
  const cert = chain.join("");
  // What stands behind the first in the chain has been looked at by nobody: a listener that can't be begun with it would serve nobody at all.
  createSecureContext({ cert, key });
  const print = createHash("sha256").update(certificate.raw).digest("hex");
  return { host, cert, key, names, beginsAt, endsAt, print, id: certificateId(certificate.raw) };
}

/** Writes a certificate with its key, as `heldOf` reads it. */
export const textOf = ({ key, cert }: Pick<Held, "key" | "cert">): string => `${key.trimEnd()}\n${cert.trimEnd()}\n`;

/** Gives how listeners serve a certificate. */
export const servedOf = ({ host, names, cert, key, endsAt }: Held): ServedCertificate => ({
  ...{ names, cert, key, endsAt },
  source: "acme",
  place: host,
});

function namesOf({ subjectAltName }: X509Certificate): string[] {
  return [...(subjectAltName ?? "").matchAll(/(?:DNS|IP Address):([^,"\s]+)/g)].map(([, name = ""]) => nameOf(name));
}

/** Gives a name in lower case, or an address, as both are compared. */
export const nameOf = (text: string): string => normaliseIp(text) ?? text.toLowerCase();

const AUTHORITY_KEY_ID = Buffer.of(0x55, 0x1d, 0x23);

/** Gives the identifier by which an authority is asked when to renew a certificate: the key that signed it, and its number (RFC 9773 §4.1). */
export function certificateId(raw: Uint8Array): string | null {
  try {
    const [certificate] = read(raw);
    const [signedPart] = read(certificate?.content ?? raw);
    const parts = read(signedPart?.content ?? raw);
    // After the version, which is [0], where it is not the first.
    const serial = parts.find(({ tag }) => tag === INTEGER)?.content;
    const list = parts.find(({ tag }) => tag === context(3, true))?.content;
    if (serial === undefined || list === undefined) return null;
    const [extensions] = read(list);
    for (const { content } of read(extensions?.content ?? new Uint8Array())) {
      const [id, ...rest] = read(content);
      if (id === undefined || !AUTHORITY_KEY_ID.equals(id.content)) continue;
      const [value] = read(rest.at(-1)?.content ?? new Uint8Array());
      const keyId = read(value?.content ?? new Uint8Array()).find(({ tag }) => tag === context(0, false))?.content;
      return keyId === undefined ? null : `${Buffer.from(keyId).toString("base64url")}.${Buffer.from(serial).toString("base64url")}`;
    }
    return null;
  } catch {
    // Another form than X.509: nobody can be asked about it.
    return null;
  }
}
