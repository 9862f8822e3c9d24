import { createHash } from "node:crypto";

/** When certificates are ordered: everything here is a function of its arguments. Times are milliseconds since 1970. */

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** Holds the life of a certificate. */
export interface Life {
  readonly beginsAt: number;
  readonly endsAt: number;
}

/** Holds the time in which an authority wishes a certificate to be renewed (RFC 9773 §4.2). */
export interface Window {
  readonly start: number;
  readonly end: number;
}

/** The share of its life that a certificate has left when it is renewed. */
const LEFT = 1 / 3;
/** The share of its life by which renewals are spread, so that certificates that were ordered together are not renewed together. */
const SPREAD = 1 / 60;
/** The share of its life that is left when it is renewed though the authority names a later time. */
const LEFT_AT_LAST = 1 / 10;

/** Gives a number from 0 up to 1 that is the same for the same text, so that a restart changes no time. */
export const fractionOf = (text: string): number => createHash("sha256").update(text).digest().readUIntBE(0, 6) / 2 ** 48;

/** Gives the time at which a certificate is renewed. `window`: what the authority wishes; `null`: it wishes nothing. `fraction`: from 0 up to 1. */
export function renewalAt({ beginsAt, endsAt }: Life, window: Window | null, fraction: number): number {
  const life = endsAt - beginsAt;
  if (window === null) return Math.floor(endsAt - life * (LEFT + SPREAD * fraction));
  return Math.floor(Math.min(window.start + (window.end - window.start) * fraction, endsAt - life * LEFT_AT_LAST));
}

const FIRST_PAUSE = MINUTE;
/** Let's Encrypt bears five failures of a name an hour (https://letsencrypt.org/docs/rate-limits/): there are five in the first, and fewer afterwards. */
const FACTOR = 3;

/**
 * Gives the milliseconds until the next try after so many failures in a row, up to a day. `random`: from 0 up to 1. `asked`: the milliseconds that the authority
 * asks to wait; `null`: it does not say.
 */
export function pauseAfter(failures: number, random: number, asked: number | null): number {
  const pause = FIRST_PAUSE * FACTOR ** Math.min(failures - 1, 10) * (1 + random / 4);
  return Math.min(DAY, Math.max(pause, asked ?? 0));
}

/** Milliseconds after a failure from which a start tries again, whatever was waited for: what was wrong may be mended, and one that starts again and again must not use up what the authority bears. */
const AFTER_RESTART = 15 * MINUTE;
/** The same for a person who asks for it. */
const AFTER_ASKED = MINUTE;

/** Gives the time of the next try for a gateway that has just started. */
export const nextAfterRestart = (nextAt: number, failedAt: number): number => Math.min(nextAt, failedAt + AFTER_RESTART);

/** Gives the time of the next try when a person wants to know whether it goes now. */
export const nextWhenAsked = (nextAt: number, failedAt: number): number => Math.min(nextAt, failedAt + AFTER_ASKED);

/**
 * Gives the milliseconds for which nothing is ordered after a certificate that lives so many milliseconds more: where a clock is wrong, or the authority wishes
 * each renewal at once, one must not follow the other.
 */
export const pauseAfterOrder = (life: number): number => Math.min(HOUR, Math.max(MINUTE, life / 3));

/** Gives the milliseconds until the authority is asked again when to renew. `asked`: those that it names (RFC 9773 §4.3: within a minute and a day). */
export const untilNextWord = (asked: number | null): number => Math.min(DAY, Math.max(MINUTE, asked ?? 6 * HOUR));

/** Reads Retry-After (RFC 9110 §10.2.3), in milliseconds; `null` where there is none that can be read. `now`: milliseconds since 1970. */
export function retryAfter(field: string | null, now: number): number | null {
  if (field === null) return null;
  if (/^\d{1,9}$/.test(field)) return Number(field) * 1000;
  // A date begins with its day's name; Date.parse would take "-1" for one.
  const at = /^[A-Z]/.test(field) ? Date.parse(field) : Number.NaN;
  return Number.isNaN(at) ? null : Math.max(0, at - now);
}
