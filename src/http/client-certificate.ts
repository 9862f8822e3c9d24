/** Holds the certificate that a client has shown in its handshake. */
export interface ShownCertificate {
  /** The certificate, then those that have signed it as far as they are known: DER. */
  readonly chain: readonly Uint8Array[];
  /** What TLS found wrong with it, by OpenSSL's name, such as "CERT_HAS_EXPIRED"; `null`: one of the authorities has signed it. */
  readonly fault: string | null;
}

/** Says what became of a client's certificate, so that whoever has not seen the handshake can go by it. It is JSON. */
export interface JudgedCertificate {
  /** SHA-256 of the certificate, hexadecimal; "" where it can't be read. */
  readonly fingerprint: string;
  /** The name of the caller; `null`: it names nobody, or does not hold. */
  readonly name: string | null;
  /** When it ends, in milliseconds since 1970. */
  readonly endsAt: number;
  /** Why it names nobody, for the caller; `null`: it does. */
  readonly fault: string | null;
  /** For people who run the gateway: whose it is, and what was found. */
  readonly detail: string;
}

/** Says what becomes of connections by the certificates that their clients show. It may change while a server runs. */
export interface ClientCertificateRules {
  /** True where a connection without a certificate that holds is closed. */
  readonly isRequired: boolean;
  /** True where no client is asked for a certificate. */
  readonly isEmpty: boolean;
  /** Learns of a handshake: which certificate was shown (`null`: none). Tells whether it holds. */
  holds(shown: ShownCertificate | null): boolean;
}

/** Describes what Bun tells of a client's certificate. Its types leave the argument out that asks for the whole chain. */
interface TlsSocket {
  readonly authorized?: boolean;
  getPeerCertificate?(isShort: boolean): Link | null | undefined;
  getAuthorizationError?(): { readonly code?: string } | null;
}

interface Link {
  readonly raw?: Uint8Array;
  readonly issuerCertificate?: Link;
}

/** The most certificates of a chain that are looked at: TLS takes no longer ones. */
const MAX_CHAIN = 100;

/**
 * Gives the certificate that was shown on a connection whose handshake is over, also where the session is an old one that is resumed; `null`
 * where none was. `error`: what Bun has told the handler of handshakes. A handshake that is right says nothing of the certificate.
 */
export function certificateOf(socket: object, error: unknown): ShownCertificate | null {
  const tls: TlsSocket = socket;
  let link = tls.getPeerCertificate?.(false);
  const chain: Uint8Array[] = [];
  // A root has signed itself.
  for (
    let before: Link | null = null;
    link != null && link !== before && chain.length < MAX_CHAIN;
    before = link, link = before.issuerCertificate
  )
    if (link.raw !== undefined) chain.push(link.raw);
  if (chain.length === 0) return null;
  return { chain, fault: tls.authorized === true ? null : (codeOf(error) ?? tls.getAuthorizationError?.()?.code ?? "UNVERIFIED") };
}

/** Tells whether a handshake has failed because the client has shown no certificate where one is required. */
export const isForWantOfCertificate = (error: unknown): boolean =>
  error instanceof Error && error.message.includes("PEER_DID_NOT_RETURN_A_CERTIFICATE");

const codeOf = (error: unknown): string | undefined =>
  typeof error === "object" && error !== null && "code" in error && typeof error.code === "string" ? error.code : undefined;
