import { createPrivateKey, X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import type { Fault } from "../schema/faults.ts";
import type { ServerConfig } from "./settings.ts";

/** Describes a certificate as people want to see it. */
export interface CertificateFacts {
  readonly file: string;
  /** Names and addresses that it is for. */
  readonly names: readonly string[];
  /** Milliseconds since 1970. */
  readonly endsAt: number;
}

const SOON = 14 * 86_400_000;

/**
 * Reads the files that a configuration serves TLS with, and gives their faults, what else is worth knowing of them, and the certificate's
 * facts. `now`: milliseconds since 1970.
 */
export function examineCertificates(
  { server }: { readonly server: ServerConfig },
  now: number,
): { faults: Fault[]; warnings: Fault[]; certificates: CertificateFacts[] } {
  const faults: Fault[] = [];
  const warnings: Fault[] = [];
  if (server.tls === null) return { faults, warnings, certificates: [] };
  const { cert, key } = server.tls;
  if (cert === null || key === null) return { faults, warnings, certificates: [] };
  const at = (field: string, message: string): Fault => ({ path: ["server", "tls", field], message });
  const read = <T>(field: string, file: string, parse: (pem: string) => T, what: string): T | null => {
    let text: string;
    try {
      text = readFileSync(file, "utf8");
    } catch (error) {
      faults.push(at(field, `${file} can't be read: ${reason(error)}`));
      return null;
    }
    try {
      return parse(text);
    } catch {
      faults.push(at(field, `${file} holds no ${what} in PEM format`));
      return null;
    }
  };
  const certificate = read("cert", cert, (pem) => new X509Certificate(pem), "certificate");
  const privateKey = read("key", key, (pem) => createPrivateKey(pem), "private key without a password");
  if (certificate === null || privateKey === null) return { faults, warnings, certificates: [] };
  if (!certificate.checkPrivateKey(privateKey)) faults.push(at("key", `${key} is not the key of the certificate in ${cert}`));
  const endsAt = Date.parse(certificate.validTo);
  if (endsAt <= now) warnings.push(at("cert", `the certificate ended on ${day(endsAt)}: callers refuse it`));
  else if (endsAt - now < SOON) warnings.push(at("cert", `the certificate ends on ${day(endsAt)}`));
  return { faults, warnings, certificates: [{ file: cert, names: namesOf(certificate), endsAt }] };
}

function reason(error: unknown): string {
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  if (code === "ENOENT") return "there is no such file";
  if (code === "EACCES") return "the user who starts Sluice may not read it";
  return error instanceof Error ? error.message : String(error);
}

/** Gives the names and addresses that a certificate is for. */
export function namesOf({ subjectAltName, subject }: X509Certificate): string[] {
  const names = [...(subjectAltName ?? "").matchAll(/(?:DNS|IP Address|URI):([^,"\s]+)/g)].map((match) => match[1] ?? "");
  return names.length > 0 ? names : [/CN=([^\n,]+)/.exec(subject ?? "")?.[1] ?? "no name"];
}

/** Gives the day of a time, in UTC. */
export const day = (at: number): string => new Date(at).toISOString().slice(0, 10);
