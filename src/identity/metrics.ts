import { counter, each, type Family } from "../values/family.ts";
import { type CertificateCounts, CLIENT_CERTIFICATES, type ClientCertificates } from "./client-certificates.ts";

/** Tells Prometheus of the certificates that clients have shown. `counts`: those of all processes. */
export const clientCertificateFamilies = (certificates: ClientCertificates, counts: () => CertificateCounts): readonly Family[] => [
  counter(
    CLIENT_CERTIFICATES,
    "Handshakes in which clients were asked for a certificate, by what became of it.",
    () => (certificates.isEmpty ? [] : each("outcome", counts())),
    "keeper",
  ),
];
