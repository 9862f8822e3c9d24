import { count, money } from "../format.ts";
import type { Limit, Quota, Tier } from "./types.ts";

/** Windows that people have words for. */
const WINDOWS: Readonly<Record<string, string>> = {
  "1s": "a second",
  "1m": "a minute",
  "60s": "a minute",
  "1h": "an hour",
  "60m": "an hour",
  "24h": "a day",
  "1d": "a day",
};

/** Gives quotas as a list, whether one, several or none are given. */
export const quotaList = (quota: Quota | readonly Quota[] | null): readonly Quota[] =>
  quota === null ? [] : "limit" in quota ? [quota] : quota;

/** Writes what a limit or quota allows: `100`, or `$25.00` where it counts dollars. */
const amountText = (amount: number | string, cost: Limit["cost"]): string => (cost === "usd" ? money : count)(Number(amount));

/** Writes a limit in a few words: `100 a minute, up to 150 at once`. */
export function limitText({ algorithm, limit, window = "?", burst, by, cost, shadow }: Limit): string {
  const span = algorithm === "concurrency" ? "at a time" : (WINDOWS[window] ?? `in ${window}`);
  const who = by === undefined ? "" : ` by ${typeof by === "string" ? by : by.join(" and ")}`;
  return `${amountText(limit, cost)} ${span}${burst === undefined ? "" : `, up to ${amountText(burst, cost)} at once`}${who}${shadow === true ? " (shadow)" : ""}`;
}

/** Writes a quota in a few words: `10,000 a day`. */
export const quotaText = ({ limit, period, cost }: Quota): string => `${amountText(limit, cost)} a ${period}`;

/** Writes what a tier allows in a few words: `100 a minute; 10,000 a day`. */
export function tierText({ limits, quota }: Pick<Tier, "limits" | "quota">): string {
  const all = [...limits.map(limitText), ...quotaList(quota).map(quotaText)];
  return all.length === 0 ? "no limits" : all.join("; ");
}
