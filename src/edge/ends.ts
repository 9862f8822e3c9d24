import { X509Certificate } from "node:crypto";
import type { ServedCertificate } from "./certificates.ts";

const DAY = 86_400_000;
/** Milliseconds before its end from which a certificate is spoken of. */
const SOON = 14 * DAY;
/** The part of its life that may be left then: one of six days, which is renewed after four, is well until its last. */
const SOON_OF_LIFE = 1 / 6;

/** When a certificate is valid, in milliseconds since 1970. */
export interface Life {
  readonly beginsAt: number;
  readonly endsAt: number;
}

/** What was found before: there may be a thousand, and each scrape asks for all. */
const lives = new WeakMap<ServedCertificate, Life>();

/** Gives when a certificate is valid. */
export function lifeOf(served: ServedCertificate): Life {
  const known = lives.get(served);
  if (known !== undefined) return known;
  const { validFrom, validTo } = new X509Certificate(served.cert);
  const life = { beginsAt: Date.parse(validFrom), endsAt: Date.parse(validTo) };
  lives.set(served, life);
  return life;
}

/** Tells whether a certificate ends so soon, or has ended, that somebody must know. */
export const endsSoon = ({ beginsAt, endsAt }: Life, now: number): boolean =>
  endsAt - now < Math.min(SOON, Math.max(0, endsAt - beginsAt) * SOON_OF_LIFE);

/** Gives the day of a time, in UTC. */
export const day = (at: number): string => new Date(at).toISOString().slice(0, 10);
