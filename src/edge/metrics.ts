import { type Family, gauge, type Sample } from "../values/family.ts";
import type { Standing, TlsInForce } from "./certificates.ts";
import { type Life, lifeOf } from "./ends.ts";

/** Tells Prometheus of certificates. `standings`: of the one process that reads and orders them. */
export const certificateFamilies = (inForce: () => TlsInForce, standings: () => readonly Standing[]): readonly Family[] => [
  gauge(
    "sluice_tls_certificate_expiry_timestamp_seconds",
    "When a certificate that is served is no longer valid, by its first name.",
    () => leastOf(inForce(), ({ endsAt }) => endsAt),
    "min",
  ),
  gauge(
    "sluice_tls_certificate_begin_timestamp_seconds",
    "Since when it is valid: with its end that tells how long it is good for.",
    () => leastOf(inForce(), ({ beginsAt }) => beginsAt),
    "min",
  ),
  gauge(
    "sluice_tls_certificate_failing",
    "1 while a certificate can't be read, ordered or renewed: the last good one serves on.",
    () => failing(standings()),
    "max",
  ),
];

/** Gives the least time of all certificates of one name, in seconds. */
function leastOf({ certificates }: TlsInForce, timeOf: (life: Life) => number): Sample[] {
  const least = new Map<string, number>();
  for (const served of certificates) {
    const name = served.names[0] ?? served.place;
    const at = timeOf(lifeOf(served)) / 1000;
    least.set(name, Math.min(at, least.get(name) ?? at));
  }
  return [...least].map(([name, value]) => ({ labels: { name }, value }));
}

function failing(standings: readonly Standing[]): Sample[] {
  const worst = new Map<string, number>();
  for (const { names, place, trouble } of standings) {
    const name = names[0] ?? place;
    worst.set(name, Math.max(trouble === null ? 0 : 1, worst.get(name) ?? 0));
  }
  return [...worst].map(([name, value]) => ({ labels: { name }, value }));
}
