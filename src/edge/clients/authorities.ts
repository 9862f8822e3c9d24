import { type KeyObject, X509Certificate } from "node:crypto";
import type { ShownCertificate } from "../../http/client-certificate.ts";
import type { ClientAuthorities } from "../certificates.ts";
import { DerFault } from "../der.ts";
import { type ReadCertificate, readCertificate } from "./certificate.ts";
import { type RevocationList, readRevocationList } from "./revocations.ts";

/** Says why a client's certificate does not hold. */
export type WhyNot = "unreadable" | "untrusted" | "unsuitable" | "early" | "expired" | "revoked";

/** Says what was found of a client's certificate. */
export interface Judgement {
  /** `null`: it could not be read. */
  readonly certificate: ReadCertificate | null;
  /** When it ends, or the first of those that have signed it, in milliseconds since 1970; 0 where it does not hold. */
  readonly endsAt: number;
  /** Why it does not hold; `null`: it does, until `endsAt`. */
  readonly fault: WhyNot | null;
  /** For people who run the gateway: whose certificate it is, and what was found. */
  readonly detail: string;
}

/** Says that a file of authorities can't be used: its message goes on behind the file's name. */
export class AuthoritiesFault extends Error {}

interface Authority {
  readonly read: ReadCertificate;
  readonly key: KeyObject;
}

const BLOCK = /-----BEGIN ([A-Z0-9 ]+)-----([^-]*)-----END \1-----/g;
const CERTIFICATES: readonly string[] = ["CERTIFICATE", "X509 CERTIFICATE"];
const LISTS: readonly string[] = ["X509 CRL"];

/** Judges clients' certificates by the authorities, and the revocation lists, of one file. */
export class Authorities {
  private readonly fingerprints: ReadonlySet<string>;
  /** What is revoked, by the names of those who have revoked it. */
  private readonly revoked = new Map<string, Set<string>>();
  private readonly judged = new WeakMap<ShownCertificate, Judgement>();

  private constructor(
    private readonly authorities: readonly Authority[],
    private readonly lists: readonly RevocationList[],
  ) {
    this.fingerprints = new Set(authorities.map(({ read }) => read.fingerprint));
    for (const { issuer, serials } of lists) {
      const before = this.revoked.get(issuer.id);
      this.revoked.set(issuer.id, before === undefined ? new Set(serials) : new Set([...before, ...serials]));
    }
  }

  /** None: no certificate holds. */
  static readonly none = new Authorities([], []);

  /** Reads certificates and revocation lists in PEM format. Throws `AuthoritiesFault`. */
  static read(pem: string): Authorities {
    const authorities: Authority[] = [];
    const lists: RevocationList[] = [];
    let number = 0;
    for (const [, kind = "", text = ""] of pem.matchAll(BLOCK)) {
      number++;
      const der = Buffer.from(text, "base64");
      if (CERTIFICATES.includes(kind))
        authorities.push(read(number, () => ({ read: readCertificate(der), key: keyOf(new X509Certificate(der)) })));
      else if (LISTS.includes(kind)) lists.push(read(number, () => readRevocationList(der)));
      else
        throw new AuthoritiesFault(`holds ${kind} as its block ${number}: only certificates and revocation lists (X509 CRL) belong there`);
    }
    // What is cut off may be the list that says who is no longer to come in.
    if (pem.split("-----BEGIN ").length - 1 > number) throw new AuthoritiesFault(`is cut off, or not whole, behind its block ${number}`);
    if (authorities.length === 0) throw new AuthoritiesFault("holds no certificate in PEM format");
    for (const list of lists) mustBeSigned(list, authorities);
    return new Authorities(authorities, lists);
  }

  /** Names the authorities, and says until when each is valid: milliseconds since 1970. */
  get names(): readonly { readonly name: string; readonly endsAt: number }[] {
    return this.authorities.map(({ read }) => ({ name: read.subject.text, endsAt: read.endsAt }));
  }

  /** The number of certificates that the lists revoke. */
  get revocations(): number {
    return this.lists.reduce((sum, { serials }) => sum + serials.size, 0);
  }

  /** Names the issuers of lists that should have been followed by another one by `now`, with the time when (milliseconds since 1970). */
  outdated(now: number): readonly { readonly name: string; readonly nextAt: number }[] {
    return this.lists.flatMap(({ issuer, nextAt }) => (nextAt <= now ? [{ name: issuer.text, nextAt }] : []));
  }

  /** Judges a certificate that was shown. `now`: milliseconds since 1970. */
  judge(shown: ShownCertificate, now: number): Judgement {
    let known = this.judged.get(shown);
    if (known === undefined) {
      known = this.look(shown);
      this.judged.set(shown, known);
    }
    if (known.fault !== null || now < known.endsAt) return known;
    return { ...known, fault: "expired", detail: `${whose(known.certificate)}: it, or one that has signed it, has expired` };
  }

  /** Finds what no time changes; when it was shown TLS has looked at the time. */
  private look({ chain, fault }: ShownCertificate): Judgement {
    let certificate: ReadCertificate | null = null;
    const say = (why: WhyNot | null, detail: string, endsAt = 0): Judgement => ({
      ...{ certificate, endsAt, fault: why },
      detail: `${whose(certificate)}: ${detail}`,
    });
    try {
      certificate = readCertificate(chain[0] ?? NOTHING);
      if (fault !== null) return say(WORDS[fault] ?? "untrusted", fault);
      const path = this.pathOf(chain);
      if (path === null) return say("untrusted", "none of the authorities in force has signed it");
      const gone = path.find(({ issuer, serial }) => this.revoked.get(issuer.id)?.has(serial));
      if (gone === undefined) return say(null, "it holds", Math.min(...path.map(({ endsAt }) => endsAt)));
      return say("revoked", `${gone === path[0] ? "it" : gone.subject.text} is revoked by ${gone.issuer.text}`);
    } catch (error) {
      return say("unreadable", `it, or one that has signed it, can't be read: it ${reasonOf(error)}`);
    }
  }

  /**
   * Gives the certificates of a chain up to one of these authorities; `null` where it leads to none. TLS has found a way to those that were
   * in force then: of a resumed session, or of a connection that was there before, these may be others. And what a client sends behind the
   * way that TLS has taken means nothing.
   */
  private pathOf(chain: readonly Uint8Array[]): readonly ReadCertificate[] | null {
    const path: ReadCertificate[] = [];
    let below: X509Certificate | null = null;
    for (const der of chain) {
      const x509 = new X509Certificate(der);
      const certificate = readCertificate(der);
      if (below !== null && !below.verify(x509.publicKey)) return null;
      path.push(certificate);
      if (this.fingerprints.has(certificate.fingerprint)) return path;
      const signer = this.signerOf(certificate, x509);
      if (signer !== null) return [...path, signer.read];
      below = x509;
    }
    return null;
  }

  private signerOf({ issuer }: ReadCertificate, x509: X509Certificate): Authority | null {
    return this.authorities.find(({ read, key }) => read.subject.id === issuer.id && x509.verify(key)) ?? null;
  }
}

const NOTHING = new Uint8Array();

/** What TLS says of certificates that do not hold, where that says more than that nobody known has signed it. */
const WORDS: Readonly<Record<string, WhyNot>> = {
  CERT_HAS_EXPIRED: "expired",
  CERT_NOT_YET_VALID: "early",
  CERT_REVOKED: "revoked",
  INVALID_PURPOSE: "unsuitable",
};

const whose = (certificate: ReadCertificate | null): string =>
  certificate === null
    ? "a certificate"
    : `the certificate of ${certificate.subject.text.slice(0, 256)} (serial ${certificate.serial.slice(0, 64)})`;

/** Gives a certificate's key. Throws `DerFault` for one of a kind that TLS does not know here. */
function keyOf(certificate: X509Certificate): KeyObject {
  try {
    return certificate.publicKey;
  } catch {
    throw new DerFault("has a key of a kind that is not taken: use one for RSA, an elliptic curve or Ed25519");
  }
}

/** Reads one block of a file, or says which it is that can't be. */
function read<T>(number: number, work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw new AuthoritiesFault(`can't be read at its block ${number}: it ${reasonOf(error)}`);
  }
}

const reasonOf = (error: unknown): string => (error instanceof DerFault ? error.message : "is malformed");

/** Takes a list only from an authority of the file: others could say that nothing is revoked. */
function mustBeSigned(list: RevocationList, authorities: readonly Authority[]): void {
  const { issuer } = list;
  const named = authorities.filter(({ read }) => read.subject.id === issuer.id);
  if (named.length === 0)
    throw new AuthoritiesFault(
      `holds a revocation list of ${issuer.text}, but not the certificate of ${issuer.text}: add it, so that the list can be checked`,
    );
  if (!named.some(({ key }) => list.isSignedBy(key)))
    throw new AuthoritiesFault(`holds a revocation list that is not signed by the certificate of ${issuer.text} beside it`);
}

/**
 * Gives the settings of TLS by which clients are asked for certificates: for a listener, and for each context that is put in its place or
 * chosen by name. Whoever leaves them out there asks nobody any more. Bun does not type all of them.
 */
export function askingFor(clients: ClientAuthorities | null): object {
  if (clients === null) return {};
  return {
    ca: certificatesIn(clients.pem),
    requestCert: true,
    rejectUnauthorized: clients.require,
    // Each certificate of the file is an authority, also one that another has signed: who writes one of them means it.
    allowPartialTrustChain: true,
  };
}

/** Gives the certificates of a file without its revocation lists, which Bun would pass over without a word. */
const certificatesIn = (pem: string): string =>
  [...pem.matchAll(BLOCK)]
    .filter(([, kind = ""]) => CERTIFICATES.includes(kind))
    .map(([block]) => block)
    .join("\n");
