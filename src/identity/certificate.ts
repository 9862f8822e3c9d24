import type { Caller } from "../exchange/caller.ts";
import type { Arrival, Exchange } from "../exchange/exchange.ts";
import type { Guard } from "../guard/guard.ts";
import type { JudgedCertificate } from "../http/client-certificate.ts";
import { KEYS_UNAVAILABLE, READABLE_AGAIN } from "../http/problem.ts";
import { CertificateCaller, type ClientCertificates } from "./client-certificates.ts";
import type { Finder, Refused } from "./finder.ts";

/** Identifies callers by the certificates that they have shown in the handshake of TLS. Nothing in a request's fields can stand for one. */
export class CertificateFinder implements Finder {
  readonly name = "certificate";
  private readonly refusals = new WeakMap<JudgedCertificate, Refused>();

  constructor(
    private readonly certificates: ClientCertificates,
    private readonly guard: Guard,
  ) {}

  /** Gives none: a certificate is in no field. */
  fields(): readonly string[] {
    return [];
  }

  /** Gives what stands for the connection's certificate, where it is the caller's. */
  take(exchange: Exchange<Arrival>, isAsked: boolean): string | null {
    const judged = isAsked ? this.shownIn(exchange) : null;
    return judged === null || isOfProxy(exchange) ? null : `certificate ${judged.fingerprint}`;
  }

  find(_secret: string, _now: number, _isShown: boolean, exchange: Exchange<Arrival>): Caller | Refused {
    const judged = this.shownIn(exchange);
    if (judged === null) return UNKNOWN;
    try {
      const found = this.certificates.find(judged);
      if (found instanceof CertificateCaller) return found;
      exchange.notes.trouble ??= found.why;
      return this.refusalOf(judged, found.says, found.why, found.caller !== null);
    } catch {
      return UNREADABLE;
    }
  }

  holderOf(_secret: string, exchange: Exchange<Arrival>): Caller | null {
    const judged = this.shownIn(exchange);
    if (judged === null) return null;
    const found = this.certificates.find(judged);
    return found instanceof CertificateCaller ? found : found.caller;
  }

  accepted(caller: Caller, exchange: Exchange<Arrival>, secret: string, now: number): void {
    if (caller instanceof CertificateCaller) this.guard.accepted(exchange.ip, secret, caller, now);
  }

  private shownIn({ incoming: { certificate } }: Exchange<Arrival>): JudgedCertificate | null {
    return certificate == null ? null : this.certificates.judge(certificate);
  }

  private refusalOf(judged: JudgedCertificate, says: string, why: string, isKnown: boolean): Refused {
    const before = this.refusals.get(judged);
    if (before?.why === why) return before;
    const refused: Refused = {
      ...{ code: "certificateInvalid", detail: `${says}; show another one, or send a key.`, why },
      // Who has signed one by themselves has guessed nothing.
      ...{ isGuess: false, isKnown },
    };
    this.refusals.set(judged, refused);
    return refused;
  }
}

/** The fields by which a proxy says that a request is somebody else's. */
const FORWARDED: readonly string[] = ["x-forwarded-for", "forwarded", "x-real-ip"];

/** Tells whether the connection is one of a trusted proxy, that brings the request of another: then the certificate says who the proxy is. */
function isOfProxy({ incoming, snapshot }: Exchange<Arrival>): boolean {
  const { fields } = incoming.head;
  return snapshot.trustedProxies.has(incoming.ip) && FORWARDED.some((name) => fields.get(name) !== null);
}

const UNKNOWN: Refused = {
  code: "certificateInvalid",
  detail: "The certificate is not known any more; connect again.",
  why: "the certificate is not known any more",
  isGuess: false,
  isKnown: false,
};

const UNREADABLE: Refused = {
  code: "keysUnavailable",
  detail: String(KEYS_UNAVAILABLE.members.detail),
  why: "the database can't be read, where the record of the certificate's consumer may be",
  isGuess: false,
  isKnown: false,
  retryAfter: READABLE_AGAIN,
};
