import { readFileSync } from "node:fs";
import type { Fault, Path } from "../schema/faults.ts";
import type { ClientAuthorities, ServedCertificate, TlsInForce } from "./certificates.ts";
import { day, endsSoon, lifeOf } from "./ends.ts";
import { type FileFault, judgeAuthorities, judgePair, type PairFiles } from "./judge.ts";
import type { TlsConfig } from "./settings.ts";
import type { Made } from "./watched.ts";

/** Names a certificate and its key, and where the configuration does. */
export interface ConfiguredPair extends PairFiles {
  /** The place of both in the configuration, from its top. */
  readonly path: Path;
}

/** Lists the certificates that the configuration names, the one for all other names first. */
export const pairsOf = ({ cert, key, certificates }: TlsConfig): readonly ConfiguredPair[] => [
  ...(cert === null || key === null ? [] : [{ cert, key, path: ["server", "tls"] }]),
  ...certificates.map((pair, i) => ({ ...pair, path: ["server", "tls", "certificates", i] })),
];

/** Makes of a pair's texts what is served. */
export function madeOfPair(files: PairFiles, [cert = "", key = ""]: readonly (string | Error)[]): Made<ServedCertificate> {
  const { served, faults } = judgePair(files, { cert, key });
  if (served !== null) return { value: served };
  return { trouble: faults.map(({ message }) => message).join("; "), file: faults[0]?.field === "key" ? 1 : 0 };
}

/** Makes of the authorities' text what clients are judged by. */
export function madeOfAuthorities(file: string, [text = ""]: readonly (string | Error)[]): Made<string> {
  const judged = judgeAuthorities(file, text);
  return "message" in judged ? { trouble: judged.message, file: 0 } : { value: judged.pem };
}

/** Describes a certificate as people want to see it. */
export interface CertificateFacts {
  readonly file: string;
  /** Names and addresses that it is for. */
  readonly names: readonly string[];
  /** Milliseconds since 1970. */
  readonly endsAt: number;
}

/** Says what was found of the files that a configuration serves TLS with. */
export interface Examined {
  readonly faults: readonly Fault[];
  /** What is valid, and somebody should know. */
  readonly warnings: readonly Fault[];
  readonly certificates: readonly CertificateFacts[];
  /** What is served with them. */
  readonly inForce: TlsInForce;
}

/** Reads the files that a configuration serves TLS with, and judges them. `now`: milliseconds since 1970. */
export function examineFiles(tls: TlsConfig | null, now: number): Examined {
  const faults: Fault[] = [];
  const warnings: Fault[] = [];
  const served: ServedCertificate[] = [];
  for (const { path, ...files } of tls === null ? [] : pairsOf(tls)) {
    const at = ({ field, message }: FileFault): Fault => ({ path: [...path, field], message });
    const judged = judgePair(files, { cert: textOf(files.cert), key: textOf(files.key) });
    faults.push(...judged.faults.map(at));
    if (judged.served === null) continue;
    const { cert, names, place } = judged.served;
    const life = lifeOf(cert);
    if (life.endsAt <= now)
      warnings.push(at({ field: "cert", message: `the certificate ended on ${day(life.endsAt)}: callers refuse it` }));
    else if (endsSoon(life, now)) warnings.push(at({ field: "cert", message: `the certificate ends on ${day(life.endsAt)}` }));
    else if (life.beginsAt > now)
      warnings.push(at({ field: "cert", message: `the certificate begins on ${day(life.beginsAt)}: callers refuse it until then` }));
    const other = served.find((each) => names.every((name) => each.names.includes(name)));
    if (other !== undefined)
      warnings.push(
        at({ field: "cert", message: `is for names that ${other.place} is for as well, which stands before it: nobody gets ${place}` }),
      );
    warnings.push(...judged.notes.map(at));
    served.push(judged.served);
  }
  return {
    ...{ faults, warnings },
    certificates: served.map(({ place, names, endsAt }) => ({ file: place, names, endsAt })),
    inForce: { certificates: served, clients: tls === null ? null : examineAuthorities(tls, now, faults, warnings) },
  };
}

function examineAuthorities({ clientCertificates }: TlsConfig, now: number, faults: Fault[], warnings: Fault[]): ClientAuthorities | null {
  if (clientCertificates === null) return null;
  const { ca, require, consumer, tier } = clientCertificates;
  const path = ["server", "tls", "clientCertificates", "ca"];
  const judged = judgeAuthorities(ca, textOf(ca));
  if ("message" in judged) {
    faults.push({ path, message: judged.message });
    return null;
  }
  for (const { subject, validTo } of judged.certificates) {
    const endsAt = Date.parse(validTo);
    if (endsAt <= now)
      warnings.push({
        path,
        message: `the authority ${subject.replaceAll("\n", ", ")} ended on ${day(endsAt)}: no certificate of its own holds`,
      });
  }
  return { pem: judged.pem, require, consumer, tier };
}

function textOf(file: string): string | Error {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    return error as Error;
  }
}
