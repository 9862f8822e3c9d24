import { counter, type Family, histogram, type Sample } from "../values/family.ts";
import { BOUNDS, FAILURES, type PluginCounts } from "./counts.ts";

/** Gives the metrics of plug-ins. `counts`: by their names. */
export const pluginFamilies = (counts: () => ReadonlyMap<string, PluginCounts>): readonly Family[] => [
  histogram("sluice_plugin_seconds", "Time that plug-ins' hooks take, in seconds, by plug-in and hook.", () => times(counts())),
  counter(
    "sluice_plugin_failures_total",
    "Hooks of plug-ins that threw, took too long, or gave what means nothing, by plug-in, hook and kind.",
    () => failures(counts()),
  ),
];

function* times(all: ReadonlyMap<string, PluginCounts>): Generator<Sample> {
  const name = "sluice_plugin_seconds";
  for (const [plugin, counts] of all)
    for (const [hook, { buckets, calls, seconds }] of counts) {
      if (calls === 0) continue;
      let count = 0;
      for (const [i, value] of buckets.entries()) {
        count += value;
        yield { metricName: `${name}_bucket`, labels: { plugin, hook, le: String(BOUNDS[i] ?? "+Inf") }, value: count };
      }
      yield { metricName: `${name}_sum`, labels: { plugin, hook }, value: seconds };
      yield { metricName: `${name}_count`, labels: { plugin, hook }, value: calls };
    }
}

function* failures(all: ReadonlyMap<string, PluginCounts>): Generator<Sample> {
  for (const [plugin, counts] of all)
    for (const [hook, counted] of counts)
      for (const kind of FAILURES) if (counted.calls > 0) yield { labels: { plugin, hook, kind }, value: counted.failures[kind] };
}
