import { signal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { get, type Problem } from "../../api.ts";
import { useLive } from "../../live.ts";
import type { Stats } from "../../shapes.ts";
import { goesOn, type Rates, ratesOf } from "./rates.ts";

/** Milliseconds between two looks. */
const LOOK_EVERY = 1000;
/** How many looks are kept: five minutes. */
const KEPT = 300;
/** The looks over which rates are told that are not drawn: a single second is too restless to read. */
const CALM = 5;

/** Holds what was seen of the gateway. */
interface Seen {
  /** The last answers, the oldest first, at most as many as calm rates take. */
  readonly answers: readonly Stats[];
  readonly rates: readonly Rates[];
}

/** Kept while somebody looks at other screens: whoever comes back sees what was before. */
const seen = signal<Seen>({ answers: [], rates: [] });

function note(stats: Stats): void {
  const { answers, rates } = seen.peek();
  const last = answers.at(-1);
  if (last === undefined || !goesOn(last, stats)) {
    if (last?.at !== stats.at) seen.value = { answers: [stats], rates: last === undefined ? [] : rates };
    return;
  }
  seen.value = {
    answers: [...answers, stats].slice(-CALM - 1),
    rates: [...rates, ratesOf(last, stats)].slice(-KEPT),
  };
}

/** Holds what the screen shows. */
export interface Watched {
  readonly now: Stats | null;
  /** The answer some seconds before, to tell rates by; the same as `now` at first. */
  readonly before: Stats | null;
  readonly rates: readonly Rates[];
  readonly error: Problem | null;
}

/** Looks at the gateway's sums once a second. */
export function useWatch(): Watched {
  const { value, error } = useLive("stats", (signal) => get<Stats>("stats", {}, signal), LOOK_EVERY);
  useEffect(() => {
    if (value !== null) note(value);
  }, [value]);
  const { answers, rates } = seen.value;
  return { now: answers.at(-1) ?? null, before: answers[0] ?? null, rates, error };
}
