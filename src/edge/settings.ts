import { type Static, Type } from "@sinclair/typebox";
import { Identifier, Nullable, Port, Shape } from "../schema/fields.ts";

const File = (description: string) =>
  Type.Union([Type.String({ minLength: 1 }), Type.Null()], { default: null, description, expects: "a file's path, or null" });

const CertificateFiles = Shape(
  {
    cert: Type.String({
      minLength: 1,
      description: "File with the certificate chain, PEM: the certificate itself first, then those that signed it.",
    }),
    key: Type.String({ minLength: 1, description: "File with the private key, PEM, without a password." }),
  },
  "A certificate and its key.",
);

/** The settings of `server.tls.acme`: certificates that are ordered and renewed by themselves (RFC 8555). */
export const AcmeConfig = Shape(
  {
    hosts: Type.Array(Type.String({ minLength: 1, maxLength: 253 }), {
      minItems: 1,
      maxItems: 100,
      description: "The names to order certificates for, one for each. No wildcards: http-01 can't prove them.",
      examples: [["api.example.com"]],
    }),
    email: Type.Union([Type.String({ maxLength: 254, pattern: "^[^@\\s]+@[^@\\s]+$" }), Type.Null()], {
      default: null,
      description: "Where the authority may write to.",
      expects: 'an address such as "ops@example.com", or null',
    }),
    directory: Type.String({
      default: "https://acme-v02.api.letsencrypt.org/directory",
      maxLength: 2048,
      description: "The directory of the authority.",
    }),
    profile: Type.Union([Type.String({ minLength: 1, maxLength: 64 }), Type.Null()], {
      default: null,
      description: 'The kind of certificate to ask for, where the authority has several, such as "shortlived"; null: its own choice.',
      expects: "a name, or null",
    }),
    eab: Nullable(
      Shape(
        {
          kid: Type.String({ minLength: 1, maxLength: 256, description: "The key's identifier." }),
          hmacKey: Type.String({ minLength: 1, maxLength: 1024, secret: true, description: "The key, base64url." }),
        },
        "A key that binds the account to one that you have with the authority.",
      ),
      "External account binding, which some authorities ask for; null: none.",
    ),
    ca: File("File with the certificates, PEM, that the directory's own certificate is checked by; null: those of the system."),
  },
  "Orders and renews certificates by itself (ACME).",
);
export type AcmeConfig = Static<typeof AcmeConfig>;

/** The settings of `server.tls.clientCertificates`. */
export const ClientCertificatesConfig = Shape(
  {
    ca: Type.String({
      minLength: 1,
      description: "File with the authorities whose clients' certificates are taken, PEM; revocation lists (X509 CRL) in it are obeyed.",
    }),
    require: Type.Boolean({ default: false, description: "Refuses, in the handshake, who shows no certificate." }),
    consumer: Type.Union([Type.Literal("subject.CN"), Type.Literal("san.uri"), Type.Literal("san.dns"), Type.Literal("san.email")], {
      default: "subject.CN",
      description: "The field that names the caller, certificate:VALUE.",
    }),
    tier: Identifier("The tier of callers without a record of their own.", { default: "free" }),
  },
  "Takes clients' certificates as callers.",
);
export type ClientCertificatesConfig = Static<typeof ClientCertificatesConfig>;

/** The settings of `server.tls`. */
export const TlsConfig = Shape(
  {
    port: Type.Union([Port("A port."), Type.Null()], {
      default: null,
      description:
        "A listener for https beside server.port, which stays http (443 when acme is set); null: server.port itself speaks https.",
      expects: "a port from 0 to 65535, or null",
    }),
    redirect: Type.Boolean({
      default: true,
      description: "Sends who calls the plain port beside it to https (308); false: the plain port serves as the other does.",
    }),
    cert: File("File with the certificate chain, PEM; with key. Several: certificates."),
    key: File("File with the private key, PEM."),
    certificates: Type.Array(CertificateFiles, {
      default: [],
      maxItems: 1000,
      description: "Several certificates: the name that the client asks for decides (SNI); the first one is for all other names.",
    }),
    acme: Type.Union([AcmeConfig, Type.Null()], {
      default: null,
      description: "Orders and renews certificates by itself (ACME, http-01); null: never.",
    }),
    clientCertificates: Type.Union([ClientCertificatesConfig, Type.Null()], {
      default: null,
      description: "Takes clients' certificates as callers; null: asks for none.",
    }),
    minVersion: Type.Union([Type.Literal("1.2"), Type.Literal("1.3")], {
      default: "1.2",
      description: "The oldest version of TLS that is spoken.",
    }),
    http2: Type.Boolean({ default: true, description: "Speaks HTTP/2, by ALPN; false: HTTP/1.1 alone, on every listener." }),
  },
  "Serve https.",
);
export type TlsConfig = Static<typeof TlsConfig>;

/** Gives the port of https beside `server.port`; `null`: that one itself speaks it. */
export const tlsPortOf = ({ port, acme }: Pick<TlsConfig, "port" | "acme">): number | null => port ?? (acme === null ? null : 443);

/** Tells whether the plain port beside the one for https sends callers there. */
export const redirects = (tls: TlsConfig | null): boolean => tls?.redirect === true && tlsPortOf(tls) !== null;
