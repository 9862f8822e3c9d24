import type { ClientCertificatesConfig } from "./settings.ts";

/** Holds one certificate as it is served. */
export interface ServedCertificate {
  /** What it is for, in lower case: names, `*.example.com`, addresses. */
  readonly names: readonly string[];
  /** The chain and the key, PEM. */
  readonly cert: string;
  readonly key: string;
  readonly source: "file" | "acme";
  /** The file that it is read from, or the host that it was ordered for. */
  readonly place: string;
  /** Milliseconds since 1970. */
  readonly endsAt: number;
}

/** Holds what the listeners of a process serve TLS with. It is JSON: the keeper hands it to the workers. */
export interface TlsInForce {
  /** The first is for callers who name none, or none of these. */
  readonly certificates: readonly ServedCertificate[];
  /** How clients' certificates are judged; `null`: none is asked for. */
  readonly clients: ClientAuthorities | null;
}

/** Holds the authorities of clients' certificates, as they were read last without a fault. */
export interface ClientAuthorities {
  /** Certificates and revocation lists, PEM. */
  readonly pem: string;
  readonly require: boolean;
  readonly consumer: ClientCertificatesConfig["consumer"];
  readonly tier: string;
}

/** Gives certificates that come from elsewhere than files, such as an authority that is asked for them. */
export interface CertificateSource {
  /** Those that there are now; the best of each name. */
  readonly certificates: readonly ServedCertificate[];
  /** How it stands with each of its places, also with those that have no certificate yet. */
  readonly standings?: readonly Standing[];
  /** Called after each change of `certificates`. */
  onChange: (() => void) | null;
}

/** Tells how it stands with a place that certificates come from. Times are milliseconds since 1970. */
export interface Standing {
  /** The file that it is read from, or the host that it is ordered for. */
  readonly place: string;
  readonly source: ServedCertificate["source"];
  /** What the certificate that serves is for; empty: there is none yet. */
  readonly names: readonly string[];
  /** When it ends; `null`: there is none yet. */
  readonly endsAt: number | null;
  /** When another one is ordered; `null`: somebody puts it into the place of the file. */
  readonly renewsAt: number | null;
  /** What is wrong: the last good one serves on; `null`: all is well. */
  readonly trouble: string | null;
  /** Since when. */
  readonly troubledSince: number | null;
}
