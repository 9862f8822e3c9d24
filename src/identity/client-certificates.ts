import type { ClientAuthorities } from "../edge/certificates.ts";
import { Authorities, type WhyNot } from "../edge/clients/authorities.ts";
import { callerName } from "../edge/clients/caller-name.ts";
import type { Caller, Consumer } from "../exchange/caller.ts";
import type { ClientCertificateRules, JudgedCertificate, ShownCertificate } from "../http/client-certificate.ts";
import { Remembered } from "../issuers/remembered.ts";
import type { ConsumerEntry, KeyRegistry } from "../keys/registry.ts";
import type { Policy } from "../limits/policy.ts";
import type { LimitConfig, QuotaConfig } from "../limits/settings.ts";
import type { Clock } from "../values/clock.ts";
import type { NamePatterns } from "../values/name-patterns.ts";

/** The names of what becomes of clients' certificates in handshakes, and of the metric that counts it. */
export const CLIENT_CERTIFICATE_OUTCOMES = [
  "held",
  "missing",
  "unreadable",
  "untrusted",
  "unsuitable",
  "early",
  "expired",
  "revoked",
] as const;
export const CLIENT_CERTIFICATES = "sluice_client_certificates_total";

export type CertificateCounts = Record<(typeof CLIENT_CERTIFICATE_OUTCOMES)[number], number>;

/** What callers with certificates have before their names. No issuer can have this name. */
export const CERTIFICATE_CALLERS = "certificate:";

/** The most certificates whose callers are remembered with their compiled limits: those who called last. */
const MAX_CALLERS = 10_000;

/** Describes the consumer behind a certificate: limits, quota and tier are those of the record with its id, if there is one. */
class CertificateConsumer implements Consumer {
  /** The record, which may come and go while the certificate is good. */
  record: ConsumerEntry | null = null;

  constructor(
    readonly id: string,
    private readonly otherwise: string,
  ) {}

  get tier(): string {
    return this.record?.tier ?? this.otherwise;
  }

  get limits(): readonly LimitConfig[] | null {
    return this.record?.limits ?? null;
  }

  get quota(): readonly QuotaConfig[] | null {
    return this.record?.quota ?? null;
  }

  get models(): NamePatterns | null {
    return this.record?.models ?? null;
  }
}

/** Describes a caller who has shown a certificate. Requests with the same certificate share it. */
export class CertificateCaller implements Caller {
  readonly via = "certificate";
  readonly consumer: CertificateConsumer;
  readonly scopes: readonly string[] = [];
  readonly routes: readonly string[] = [];
  readonly ips = null;
  readonly models = null;
  readonly limits = null;
  readonly quota = null;
  policies: readonly Policy[] | null = null;
  version = 0;
  /** The address from which the guard knows the certificate as good, and when it was told that last (milliseconds since 1970). */
  acceptedFrom?: string;
  acceptedAt?: number;

  constructor(
    readonly id: string,
    tier: string,
    readonly expiresAt: number,
  ) {
    this.consumer = new CertificateConsumer(id, tier);
  }
}

export interface ClientCertificatesDeps {
  readonly clock: Clock;
  /** Knows the records that bring limits to callers with certificates. */
  readonly keys: Pick<KeyRegistry, "consumer">;
  /** Counts handshakes by what became of the certificate. */
  readonly counts: CertificateCounts;
  /** Learns which revocation lists there should be newer ones of, in words; `null`: none is old any more. Called when that has changed. */
  readonly onOutdated: (why: string | null) => void;
}

/** Says why a certificate names no caller who may come in. */
export interface CertificateFault {
  /** For the caller. */
  readonly says: string;
  /** For people who run the gateway. */
  readonly why: string;
  /** Whose it is, where that is known. */
  readonly caller: CertificateCaller | null;
}

interface InForce {
  readonly authorities: Authorities;
  readonly clients: ClientAuthorities;
  readonly judged: WeakMap<ShownCertificate, JudgedCertificate>;
}

/** Tells who calls by the certificates that clients show in their handshakes. */
export class ClientCertificates implements ClientCertificateRules {
  private inForce: InForce | null = null;
  /** What was told of old lists last. */
  private outdated: string | null = null;
  private readonly callers = new Remembered<CertificateCaller>(MAX_CALLERS);

  constructor(private readonly deps: ClientCertificatesDeps) {}

  /**
   * Puts these authorities in force, for connections that are there already as well; `null`: clients are asked for nothing. An empty text
   * stands for authorities that could never be read: then no certificate holds. Throws `AuthoritiesFault`, with those before still in force.
   */
  use(clients: ClientAuthorities | null): void {
    const authorities = clients === null || clients.pem === "" ? Authorities.none : Authorities.read(clients.pem);
    this.inForce = clients === null ? null : { authorities, clients, judged: new WeakMap() };
    this.callers.forget(() => true);
    this.look();
  }

  /** Looks whether revocation lists are old; for a timer. */
  look(): void {
    const why = this.whyOutdated();
    if (why === this.outdated) return;
    this.outdated = why;
    this.deps.onOutdated(why);
  }

  /** True where no client is asked for a certificate. */
  get isEmpty(): boolean {
    return this.inForce === null;
  }

  /** True where a connection without a certificate that holds is closed. */
  get isRequired(): boolean {
    return this.inForce?.clients.require === true;
  }

  /** Learns of a handshake, counts it, and tells whether its certificate holds. */
  holds(shown: ShownCertificate | null): boolean {
    const { counts, clock } = this.deps;
    if (this.inForce === null) return false;
    const outcome = shown === null ? "missing" : (this.inForce.authorities.judge(shown, clock.wall()).fault ?? "held");
    counts[outcome]++;
    return outcome === "held";
  }

  /** Judges a certificate by the authorities in force now; what another process has judged stays as it is. */
  judge(shown: ShownCertificate | JudgedCertificate): JudgedCertificate {
    if (!("chain" in shown)) return shown;
    if (this.inForce === null) return NONE_IN_FORCE;
    const { judged } = this.inForce;
    let known = judged.get(shown);
    if (known === undefined) {
      known = this.judgedNow(shown, this.inForce);
      judged.set(shown, known);
    }
    return known;
  }

  private judgedNow(shown: ShownCertificate, { authorities, clients }: InForce): JudgedCertificate {
    const { certificate, endsAt, fault, detail } = authorities.judge(shown, this.deps.clock.wall());
    const fingerprint = certificate?.fingerprint ?? "";
    const name = certificate === null || fault !== null ? null : callerName(certificate, clients.consumer);
    if (fault !== null) return { fingerprint, name, endsAt, fault: SAYS[fault], detail };
    if (name !== null) return { fingerprint, name, endsAt, fault: null, detail };
    const lacks = `has no ${clients.consumer} that can name a caller`;
    return { fingerprint, name, endsAt, fault: `The certificate ${lacks}`, detail: detail.replace(/it holds$/, `it holds, and ${lacks}`) };
  }

  /** Gives the caller whom a certificate names, or why there is none. */
  find({ fingerprint, name, endsAt, fault, detail }: JudgedCertificate): CertificateCaller | CertificateFault {
    if (fault !== null || name === null) return { says: fault ?? SAYS.untrusted, why: detail, caller: null };
    const now = this.deps.clock.wall();
    if (now >= endsAt) return { says: SAYS.expired, why: detail, caller: null };
    const id = CERTIFICATE_CALLERS + name;
    const caller = this.callers.get(fingerprint, now) ?? this.remember(fingerprint, id, endsAt, now);
    const record = this.deps.keys.consumer(id) ?? null;
    caller.consumer.record = record;
    if (record === null || record.enabled) return caller;
    return { says: "The consumer of the certificate is disabled", why: `the record of consumer ${id} is disabled`, caller };
  }

  /**
   * Gives the caller of this id as they would be with a certificate that holds; `null` where no certificate can name one. For people who ask
   * about them.
   */
  callerOf(id: string): CertificateCaller | null {
    if (this.inForce === null || !id.startsWith(CERTIFICATE_CALLERS) || id.length === CERTIFICATE_CALLERS.length) return null;
    const caller = new CertificateCaller(id, this.inForce.clients.tier, Number.POSITIVE_INFINITY);
    caller.consumer.record = this.deps.keys.consumer(id) ?? null;
    return caller;
  }

  private whyOutdated(): string | null {
    const outdated = this.inForce?.authorities.outdated(this.deps.clock.wall()) ?? [];
    return outdated.length === 0
      ? null
      : outdated.map(({ name, nextAt }) => `that of ${name} was good until ${new Date(nextAt).toISOString()}`).join("; ");
  }

  private remember(fingerprint: string, id: string, endsAt: number, now: number): CertificateCaller {
    const caller = new CertificateCaller(id, this.inForce?.clients.tier ?? "", endsAt);
    this.callers.put(fingerprint, caller, endsAt, now);
    return caller;
  }
}

/** What callers are told of certificates that do not hold. */
const SAYS: Readonly<Record<WhyNot, string>> = {
  unreadable: "The certificate can't be read",
  untrusted: "The certificate is not signed by an authority that is known here, or the one between them was not sent",
  unsuitable: "The certificate is not for clients: its key usage does not allow it",
  early: "The certificate is not valid yet",
  expired: "The certificate has expired",
  revoked: "The certificate is revoked",
};

const NONE_IN_FORCE: JudgedCertificate = {
  fingerprint: "",
  name: null,
  endsAt: 0,
  fault: SAYS.untrusted,
  detail: "no authority is in force",
};
