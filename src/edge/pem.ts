/** A block of a file in PEM format (RFC 7468): its label, and all of its text. */
export interface PemBlock {
  readonly label: string;
  readonly text: string;
}

const BLOCK = /-----BEGIN ([A-Z0-9 ]+)-----[\s\S]*?-----END \1-----/g;

/** Gives the blocks of a text in PEM format, in their order. What stands between them is left out. */
export const pemBlocks = (text: string): readonly PemBlock[] =>
  [...text.matchAll(BLOCK)].map(([block, label = ""]) => ({ label, text: `${block}\n` }));

/** Tells whether a block holds a certificate: OpenSSL has written three labels for it. */
export const isCertificate = ({ label }: PemBlock): boolean => /^(X509 |TRUSTED )?CERTIFICATE$/.test(label);

/** Tells whether a block holds a private key, with or without a password. */
export const isPrivateKey = ({ label }: PemBlock): boolean => label.endsWith("PRIVATE KEY");

/** Tells whether a block holds a list of revoked certificates. */
export const isRevocationList = ({ label }: PemBlock): boolean => label === "X509 CRL";
