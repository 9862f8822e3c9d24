import { createPrivateKey, type KeyObject, X509Certificate } from "node:crypto";
import { createSecureContext } from "node:tls";
import type { ServedCertificate } from "./certificates.ts";
import { Authorities, AuthoritiesFault } from "./clients/authorities.ts";
import { isCertificate, isPrivateKey, type PemBlock, pemBlocks } from "./pem.ts";

/** Names the files of a certificate and its key. */
export interface PairFiles {
  readonly cert: string;
  readonly key: string;
}

/** Holds the texts of such files, or why one can't be read. */
export interface PairTexts {
  readonly cert: string | Error;
  readonly key: string | Error;
}

/** Says that a file can't be served with, or is hardly meant so. */
export interface FileFault {
  readonly field: "cert" | "key";
  readonly message: string;
}

/** Says what was found of a certificate and its key: what is served, or why it can't be. */
export type Judged =
  | { readonly served: ServedCertificate; readonly notes: readonly FileFault[]; readonly faults: readonly [] }
  | { readonly served: null; readonly notes: readonly []; readonly faults: readonly FileFault[] };

const refused = (...faults: FileFault[]): Judged => ({ served: null, notes: [], faults });

/** Judges a certificate and its key by all that a client, or the listener, would find wrong with them. It reads no file. */
export function judgePair(files: PairFiles, texts: PairTexts): Judged {
  const chain = chainIn(files.cert, texts.cert);
  const key = keyIn(files.key, texts.key);
  const faults: FileFault[] = [
    ...("message" in chain ? [{ field: "cert" as const, message: chain.message }] : []),
    ...("message" in key ? [{ field: "key" as const, message: key.message }] : []),
  ];
  if ("message" in chain || "message" in key) return refused(...faults);
  const { certificates } = chain;
  const [leaf] = certificates;
  if (leaf === undefined) return refused();
  if (!leaf.checkPrivateKey(key.key)) return refused(mismatch(files, certificates, key.key));
  const cert = chain.texts.join("");
  try {
    createSecureContext({ cert, key: key.text });
  } catch (error) {
    return refused({ field: "cert", message: `${files.cert} can't be served with: ${reasonOf(error)}` });
  }
  const served: ServedCertificate = {
    ...{ names: namesOf(leaf), cert, key: key.text, source: "file", place: files.cert },
    endsAt: Date.parse(leaf.validTo),
  };
  return { served, notes: notesOf(files.cert, certificates), faults: [] };
}

function chainIn(
  file: string,
  text: string | Error,
): { readonly certificates: readonly X509Certificate[]; readonly texts: readonly string[] } | { readonly message: string } {
  if (text instanceof Error) return { message: `${file} can't be read: ${reasonOf(text)}` };
  const all = pemBlocks(text);
  const blocks = all.filter(isCertificate);
  if (blocks.length === 0) return { message: `${file} holds no certificate in PEM format` };
  // Without what is cut off many clients find no way to an authority that they know.
  if (text.split("-----BEGIN ").length - 1 > all.length) return { message: `${file} is cut off, or not whole: a block in it has no end` };
  const certificates: X509Certificate[] = [];
  for (const block of blocks) {
    const certificate = certificateIn(block);
    if (certificate === null) return { message: `${file} can't be read at its certificate ${certificates.length + 1}` };
    certificates.push(certificate);
  }
  return { certificates, texts: blocks.map((block) => block.text) };
}

function keyIn(file: string, text: string | Error): { readonly key: KeyObject; readonly text: string } | { readonly message: string } {
  if (text instanceof Error) return { message: `${file} can't be read: ${reasonOf(text)}` };
  // Some write certificates, or parameters of a curve, into the same file.
  const block = pemBlocks(text).find(isPrivateKey);
  if (block !== undefined)
    try {
      return { key: createPrivateKey(block.text), text: block.text };
    } catch {
      if (/ENCRYPTED/.test(block.text))
        return { message: `${file} holds a private key with a password: take it off, as in openssl pkey -in ${file} -out NEW` };
    }
  return { message: `${file} holds no private key without a password in PEM format` };
}

/** Says why a key is not that of the first certificate. */
function mismatch({ cert, key }: PairFiles, certificates: readonly X509Certificate[], own: KeyObject): FileFault {
  const place = certificates.findIndex((each) => each.checkPrivateKey(own));
  if (place > 0)
    return {
      field: "cert",
      message: `${cert} begins with another certificate: the one of the key is number ${place + 1} in it, and belongs first`,
    };
  // One that somebody has signed for a server by itself often says that it is an authority as well.
  if (certificates.every(({ ca, subjectAltName }) => ca && subjectAltName === undefined))
    return { field: "cert", message: `${cert} holds certificates of authorities alone: the one of the key in ${key} is missing` };
  return { field: "key", message: `${key} is not the key of the certificate in ${cert}` };
}

/** Gives what can be served, and some clients refuse. */
function notesOf(file: string, certificates: readonly X509Certificate[]): FileFault[] {
  const broken = certificates.findIndex((each, i) => {
    const issuer = certificates[i + 1];
    return issuer !== undefined && !each.checkIssued(issuer);
  });
  if (broken < 0) return [];
  return [
    {
      field: "cert",
      message: `certificate ${broken + 1} in ${file} is not signed by number ${broken + 2}: put them in the order in which each is signed by the next, since some clients refuse others`,
    },
  ];
}

/** Holds what was found of a file of authorities: their text, or why it can't be used. */
export type JudgedAuthorities = { readonly pem: string; readonly authorities: Authorities } | { readonly message: string };

/** Judges a file with the authorities of clients' certificates, and their revocation lists. */
export function judgeAuthorities(file: string, text: string | Error): JudgedAuthorities {
  if (text instanceof Error) return { message: `${file} can't be read: ${reasonOf(text)}` };
  try {
    const authorities = Authorities.read(text);
    const blocks = pemBlocks(text).map((block) => block.text);
    return { pem: blocks.join(""), authorities };
  } catch (error) {
    if (!(error instanceof AuthoritiesFault)) throw error;
    return { message: `${file} ${error.message}` };
  }
}

/** Gives the certificate of a block; `null` where it can't be read. */
function certificateIn({ text }: PemBlock): X509Certificate | null {
  try {
    return new X509Certificate(text);
  } catch {
    return null;
  }
}

/** Gives the names and addresses that a certificate is for, in lower case; of one without any the name of its subject. */
export function namesOf({ subjectAltName, subject }: X509Certificate): string[] {
  const names = [...(subjectAltName ?? "").matchAll(/(?:DNS|IP Address):([^,"\s]+)/g)].map((match) => (match[1] ?? "").toLowerCase());
  return names.length > 0 ? names : [/CN=([^\n,]+)/.exec(subject ?? "")?.[1]?.toLowerCase() ?? "no name"];
}

/** Says for people why a file can't be read, or used. */
export function reasonOf(error: unknown): string {
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  if (code === "ENOENT") return "there is no such file";
  if (code === "EACCES") return "the user who starts Sluice may not read it";
  if (code === "EISDIR") return "it is a folder";
  return error instanceof Error ? error.message : String(error);
}
