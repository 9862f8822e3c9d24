import { createPrivateKey, X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { day } from "../edge/ends.ts";
import { reasonOf } from "../edge/judge.ts";
import type { OwnTls } from "../http/client.ts";
import type { Fault } from "../schema/faults.ts";
import type { OwnTlsConfig } from "./own-tls.ts";

/** Describes a certificate that targets are shown. */
export interface ShownCertificate {
  readonly file: string;
  /** Its subject in one line. */
  readonly subject: string;
  /** Milliseconds since 1970. */
  readonly endsAt: number;
}

/** Says what is wrong with a file, and which field names it. */
interface FileFault {
  readonly field: "ca" | "cert" | "key";
  readonly message: string;
}

/** Holds what stands in an upstream's files, or what is wrong with them. */
interface ReadFiles {
  readonly tls: OwnTls;
  readonly faults: readonly FileFault[];
  readonly shown: ShownCertificate | null;
}

const CERTIFICATE = /-----BEGIN (?:TRUSTED )?CERTIFICATE-----[^-]*-----END (?:TRUSTED )?CERTIFICATE-----/g;
/** Milliseconds before its end from which on a certificate is told of. */
const SOON = 14 * 86_400_000;

/**
 * Reads the files that upstreams name, and gives their faults, what else is worth knowing of them, and the certificates that targets are
 * shown. `now`: milliseconds since 1970.
 */
export function examineBackendFiles(
  { upstreams }: { readonly upstreams: Readonly<Record<string, { readonly tls: OwnTlsConfig | null }>> },
  now: number,
): { faults: Fault[]; warnings: Fault[]; shown: ShownCertificate[] } {
  const faults: Fault[] = [];
  const warnings: Fault[] = [];
  const certificates: ShownCertificate[] = [];
  for (const [name, { tls }] of Object.entries(upstreams)) {
    if (tls === null) continue;
    const { faults: found, shown } = readFiles(tls);
    const at = (field: string): Fault["path"] => ["upstreams", name, "tls", field];
    faults.push(...found.map(({ field, message }) => ({ path: at(field), message })));
    if (shown === null) continue;
    certificates.push(shown);
    const { endsAt } = shown;
    if (endsAt <= now) warnings.push({ path: at("cert"), message: `the certificate ended on ${day(endsAt)}: targets refuse it` });
    else if (endsAt - now < SOON) warnings.push({ path: at("cert"), message: `the certificate ends on ${day(endsAt)}` });
  }
  return { faults, warnings, shown: certificates };
}

/**
 * Keeps what stands in the files of upstreams. They are read when an upstream first names them, and at each reload; while they can't be
 * used, what they held before goes on.
 */
export class BackendFiles {
  private readonly kept = new Map<string, { readonly config: OwnTlsConfig; tls: OwnTls }>();

  /** Gives what an upstream's files hold; the same object as long as that does not change. `null`: it names no TLS of its own. */
  of(config: OwnTlsConfig | null): OwnTls | null {
    if (config === null) return null;
    const name = nameOf(config);
    let known = this.kept.get(name);
    if (known === undefined) {
      known = { config, tls: readFiles(config).tls };
      this.kept.set(name, known);
    }
    return known.tls;
  }

  /** Reads all of them again. */
  reread(): void {
    for (const known of this.kept.values()) {
      const { tls } = readFiles(known.config);
      if (tls.id !== known.tls.id && (tls.fault === null || known.tls.fault !== null)) known.tls = tls;
    }
  }

  /** Forgets the files that none of these settings names. */
  keep(used: Iterable<OwnTlsConfig | null>): void {
    const names = new Set([...used].map((config) => (config === null ? "" : nameOf(config))));
    for (const name of this.kept.keys()) if (!names.has(name)) this.kept.delete(name);
  }

  /** True when there are files that can't be used, and nothing that they held before. */
  get hasFaults(): boolean {
    return [...this.kept.values()].some(({ tls }) => tls.fault !== null);
  }

  /** Gives all that is kept, for another process. */
  told(): readonly (readonly [name: string, tls: OwnTls])[] {
    return [...this.kept].map(([name, { tls }]) => [name, tls] as const);
  }

  /** Takes from another process what the files held before, where they can't be used now. True when that changes anything. */
  takeOver(told: ReturnType<BackendFiles["told"]>): boolean {
    let isChange = false;
    for (const [name, tls] of told) {
      const known = this.kept.get(name);
      if (known === undefined || known.tls.fault === null || tls.fault !== null) continue;
      known.tls = tls;
      isChange = true;
    }
    return isChange;
  }
}

const nameOf = ({ ca, cert, key, serverName }: OwnTlsConfig): string => JSON.stringify([ca, cert, key, serverName]);

function readFiles({ ca, cert, key, serverName }: OwnTlsConfig): ReadFiles {
  const faults: FileFault[] = [];
  const texts = { ca: textOf("ca", ca, faults), cert: textOf("cert", cert, faults), key: textOf("key", key, faults) };
  if (texts.ca !== null) certificatesIn("ca", ca, texts.ca, faults);
  const [leaf] = texts.cert === null ? [] : certificatesIn("cert", cert, texts.cert, faults);
  const isKey = texts.key === null || isPrivateKey(texts.key);
  if (!isKey) faults.push({ field: "key", message: `${key} holds no private key without a password in PEM format` });
  else if (leaf !== undefined && texts.key !== null && !leaf.checkPrivateKey(createPrivateKey(texts.key)))
    faults.push({ field: "key", message: `${key} is not the key of the certificate in ${cert}` });
  const [first] = faults;
  return {
    faults,
    shown:
      leaf === undefined || cert === null
        ? null
        : { file: cert, subject: leaf.subject.replaceAll("\n", ", "), endsAt: Date.parse(leaf.validTo) },
    tls: {
      ...texts,
      serverName,
      id: new Bun.CryptoHasher("sha256")
        .update(JSON.stringify([texts, serverName, first?.message]))
        .digest("hex")
        .slice(0, 16),
      fault: first === undefined ? null : first.message,
    },
  };
}

function textOf(field: FileFault["field"], file: string | null, faults: FileFault[]): string | null {
  if (file === null) return null;
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    faults.push({ field, message: `${file} can't be read: ${reasonOf(error)}` });
    return null;
  }
}

/** Gives the certificates of a file, as far as they can be read. */
function certificatesIn(field: FileFault["field"], file: string | null, pem: string, faults: FileFault[]): X509Certificate[] {
  const blocks = pem.match(CERTIFICATE) ?? [];
  if (blocks.length === 0) faults.push({ field, message: `${file} holds no certificate in PEM format` });
  const certificates: X509Certificate[] = [];
  for (const [i, block] of blocks.entries()) {
    try {
      certificates.push(new X509Certificate(block));
    } catch {
      faults.push({ field, message: `${file}: its certificate ${i + 1} can't be read` });
    }
  }
  return certificates;
}

function isPrivateKey(pem: string): boolean {
  try {
    createPrivateKey(pem);
    return true;
  } catch {
    return false;
  }
}
