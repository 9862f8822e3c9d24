import { readFileSync } from "node:fs";
import type { Fault, Path } from "../schema/faults.ts";
import { acmeFileFaults } from "./acme/rules.ts";
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
  /** By whom clients' certificates may be signed, in lines for people. */
  readonly lines: readonly string[];
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
    const { names, place } = judged.served;
    const life = lifeOf(judged.served);
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
  if (tls !== null && tls.acme !== null) faults.push(...acmeFileFaults(tls.acme, ["server", "tls", "acme"]));
  const authorities = tls === null ? NOBODY_ASKED : examineAuthorities(tls, now);
  return {
    faults: [...faults, ...authorities.faults],
    warnings: [...warnings, ...authorities.warnings],
    lines: authorities.lines,
    certificates: served.map(({ place, names, endsAt }) => ({ file: place, names, endsAt })),
    inForce: { certificates: served, clients: authorities.clients },
  };
}

/** The most authorities that are told one by one: a system's own file has over a hundred. */
const MAX_TOLD = 10;

/** Holds what was found of the file by which clients are judged. */
interface ExaminedAuthorities {
  readonly faults: readonly Fault[];
  readonly warnings: readonly Fault[];
  /** What it holds, in lines for people. */
  readonly lines: readonly string[];
  readonly clients: ClientAuthorities | null;
}

function examineAuthorities({ clientCertificates }: TlsConfig, now: number): ExaminedAuthorities {
  if (clientCertificates === null) return NOBODY_ASKED;
  const { ca: file, require, consumer, tier } = clientCertificates;
  const at = (message: string): Fault => ({ path: ["server", "tls", "clientCertificates", "ca"], message });
  const judged = judgeAuthorities(file, textOf(file));
  if ("message" in judged) return { ...NOBODY_ASKED, faults: [at(judged.message)] };
  const { names, revocations } = judged.authorities;
  const ended = names.filter(({ endsAt }) => endsAt <= now);
  const lines = names
    .slice(0, MAX_TOLD)
    .map(({ name, endsAt }) => `${file}: takes clients' certificates signed by ${name}, until ${day(endsAt)}`);
  if (names.length > MAX_TOLD) lines.push(`${file}: takes those signed by ${names.length - MAX_TOLD} others as well`);
  return {
    faults: [],
    warnings: [
      ...ended.map(({ name, endsAt }) => at(`the authority ${name} ended on ${day(endsAt)}: what it has signed is refused`)),
      ...judged.authorities
        .outdated(now)
        .map(({ name, nextAt }) => at(`the revocation list of ${name} was good until ${day(nextAt)}: what was revoked since is not known`)),
    ],
    lines: revocations === 0 ? lines : [...lines, `${file}: ${revocations} revoked`],
    clients: { pem: judged.pem, require, consumer, tier },
  };
}

const NOBODY_ASKED: ExaminedAuthorities = { faults: [], warnings: [], lines: [], clients: null };

function textOf(file: string): string | Error {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    return error as Error;
  }
}
