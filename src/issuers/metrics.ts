import { counter, type Family, gauge, single } from "../values/family.ts";
import { OUTCOMES } from "./issuer.ts";
import type { Issuers } from "./issuers.ts";

/** Tells Prometheus of tokens, and of the issuers that they are from. */
export const issuerFamilies = (issuers: Issuers): readonly Family[] => [
  counter("sluice_tokens_total", "Tokens that were shown, by what became of them; without an issuer those that none was found for.", () =>
    issuers.isEmpty
      ? []
      : [
          ...issuers
            .all()
            .flatMap(({ name, counts }) => OUTCOMES.map((outcome) => ({ labels: { issuer: name, outcome }, value: counts[outcome] }))),
          ...Object.entries(issuers.strangers).map(([outcome, value]) => ({ labels: { issuer: "", outcome }, value })),
        ],
  ),
  gauge(
    "sluice_tokens_remembered",
    "Tokens that were proven and need not be for a while.",
    () => (issuers.isEmpty ? [] : single(issuers.rememberedTokens)),
    "sum",
  ),
  counter("sluice_issuer_key_fetches_total", "Times that an issuer's keys were fetched, well or in vain.", () =>
    issuers.all().flatMap(({ name, keys }) =>
      keys === null
        ? []
        : [
            { labels: { issuer: name, result: "brought" }, value: keys.counts.brought },
            { labels: { issuer: name, result: "failed" }, value: keys.counts.failed },
          ],
    ),
  ),
  gauge(
    "sluice_issuer_up",
    "0 while an issuer can't be asked.",
    () => issuers.all().map(({ name, whyAway }) => ({ labels: { issuer: name }, value: whyAway === null ? 1 : 0 })),
    "min",
  ),
];
