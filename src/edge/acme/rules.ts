import { X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { domainToASCII } from "node:url";
import type { Fault, Path } from "../../schema/faults.ts";
import { parseIp } from "../../values/ip.ts";
import type { AcmeConfig } from "../settings.ts";
import { nameOf } from "./held.ts";

/** Tells what is wrong with the settings of `server.tls.acme`, which stand at `at`. */
export function acmeFaults({ hosts, directory, eab }: AcmeConfig, at: Path): Fault[] {
  const faults: Fault[] = [];
  const seen = new Set<string>();
  for (const [i, host] of hosts.entries()) {
    const message = seen.has(nameOf(host)) ? `${JSON.stringify(host)} stands here twice` : hostFault(host);
    if (message !== null) faults.push({ path: [...at, "hosts", i], message });
    seen.add(nameOf(host));
  }
  const url = URL.parse(directory);
  if (url?.protocol !== "https:" || url.username !== "" || url.password !== "")
    faults.push({
      path: [...at, "directory"],
      message: "must be an https URL without a user, such as the authority names for its directory",
    });
  if (eab !== null && !/^[A-Za-z0-9_-]+={0,2}$/.test(eab.hmacKey))
    faults.push({ path: [...at, "eab", "hmacKey"], message: "must be base64url (A–Z, a–z, 0–9, - and _), as the authority gives it" });
  return faults;
}

const NAME = /^(?=.{1,253}$)[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*$/i;

function hostFault(host: string): string | null {
  if (host.includes("*"))
    return `${JSON.stringify(host)} can't be ordered: an authority proves no wildcard by http-01. Name each host, or get the certificate elsewhere and name its files in server.tls.certificates`;
  if (parseIp(host) !== null) return null;
  if (/^[\d.]+$/.test(host)) return `${JSON.stringify(host)} is no address`;
  if (NAME.test(host)) return null;
  if (/^https?:\/\//i.test(host)) return `must be a name alone, as in ${JSON.stringify(URL.parse(host)?.hostname ?? "api.example.com")}`;
  if (/^[^:]+:\d+$/.test(host)) return "must be a name without a port: certificates are for all ports";
  const ascii = domainToASCII(host);
  if (ascii !== "" && ascii !== host && NAME.test(ascii)) return `must be written as ${JSON.stringify(ascii)}: certificates hold ASCII`;
  return `${JSON.stringify(host)} is no name of a host, such as "api.example.com"`;
}

/** Tells what is valid and hardly meant. `port`: that of the plain listener, at `host`. */
export function acmeWarnings({ hosts }: AcmeConfig, at: Path, port: number, isLoopback: boolean): Fault[] {
  const [name = ""] = hosts;
  if (isLoopback)
    return [{ path: at, message: "the authority can't reach this machine's own address: set server.host, or have port 80 lead here" }];
  if (port === 80) return [];
  return [
    {
      path: at,
      message: `the authority asks http://${name}/ at port 80, and Sluice listens on ${port}: set server.port to 80, or have port 80 lead to ${port} (a port mapping, a load balancer)`,
    },
  ];
}

/** Tells what is wrong with the file by which the authority's directory is checked. */
export function acmeFileFaults({ ca }: AcmeConfig, at: Path): Fault[] {
  if (ca === null) return [];
  const path = [...at, "ca"];
  let text: string;
  try {
    text = readFileSync(ca, "utf8");
  } catch (error) {
    return [{ path, message: `${ca} can't be read: ${error instanceof Error ? error.message : String(error)}` }];
  }
  try {
    new X509Certificate(text);
    return [];
  } catch {
    return [{ path, message: `${ca} holds no certificate in PEM format` }];
  }
}
