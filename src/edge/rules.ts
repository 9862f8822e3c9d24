import type { Fault } from "../schema/faults.ts";
import { type TlsConfig, tlsPortOf } from "./settings.ts";

/** Gives what the schema of `server.tls` can't say. */
export function tlsFaults({ cert, key, certificates, acme }: TlsConfig): Fault[] {
  const isEmpty = cert === null && key === null;
  const needsPair = !isEmpty || (certificates.length === 0 && acme === null);
  return (["cert", "key"] as const)
    .filter((field) => needsPair && (field === "cert" ? cert : key) === null)
    .map((field) => ({
      path: ["server", "tls", field],
      message: `is required: https needs a certificate and its key${isEmpty ? ', or "acme" to have one ordered' : ""}`,
    }));
}

/** The settings of `server.tls` that say where and how is listened. */
const FIXED = ["port", "redirect", "http2"] as const;

/** Gives a fault for each change of `server.tls` that only a restart can make. */
export function fixedTlsFaults(before: TlsConfig | null, next: TlsConfig | null): Fault[] {
  if (before === null || next === null)
    return before === next
      ? []
      : [{ path: ["server", "tls"], message: `can't be turned ${next === null ? "off" : "on"} while the gateway runs: restart it` }];
  const isOther = {
    port: tlsPortOf(before) !== tlsPortOf(next),
    redirect: before.redirect !== next.redirect,
    http2: before.http2 !== next.http2,
  };
  return FIXED.filter((field) => isOther[field]).map((field) => ({
    path: ["server", "tls", field],
    message: "can't be changed while the gateway runs: restart it, or put the one before back",
  }));
}
