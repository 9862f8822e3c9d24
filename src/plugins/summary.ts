import type { Summary } from "sluice";
import type { Arrival, Exchange } from "../exchange/exchange.ts";

/** Tells a plug-in what became of a request. `elapsed` in milliseconds. */
export const summaryOf = ({ status, notes, attempts, target, units }: Exchange<Arrival>, elapsed: number): Summary => ({
  status,
  duration: elapsed,
  code: notes.refusal?.code ?? null,
  cache: notes.cache,
  attempts,
  target: target?.url ?? null,
  units,
});
