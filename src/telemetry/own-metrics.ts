import { counter, each, type Family, gauge } from "../values/family.ts";
import { VERSION } from "../version.ts";
import type { Log } from "./log.ts";

/** Gives the metric of which version runs. */
export const buildFamilies = (): readonly Family[] => [
  gauge("sluice_build_info", "The version that runs.", () => [{ labels: { version: VERSION }, value: 1 }]),
];

/** Gives the metric of the lines that the log has lost. `log`: `null` when none is written. */
export const logFamilies = (log: Log | null): readonly Family[] => [
  counter("sluice_log_lines_dropped_total", "Lines of the log that found no room because stdout is read too slowly, or not at all.", () =>
    log === null ? [] : each("of", log.state.dropped),
  ),
];

/** Gives the metric of what became of spans. */
export const spanFamilies = (counts: Readonly<Record<string, number>>): readonly Family[] => [
  counter("sluice_spans_total", "Spans of traces by what became of them.", () => each("result", counts)),
];
