import { counter, type Family, gauge, type Sample, single } from "../values/family.ts";
import type { Activities } from "./activities.ts";

type Stats = Awaited<ReturnType<Activities["stats"]>>;

/** Tells Prometheus of activities; nothing while there are none, or while their worker does not answer. */
export function activityFamilies(activities: () => Activities | null): readonly Family[] {
  /** The answer to one scrape, of which several metrics read. */
  let asked: Promise<Stats | null> | null = null;
  const readStats = (read: (stats: Stats) => Sample[]) => async (): Promise<Sample[]> => {
    asked ??= Promise.resolve(activities()?.stats() ?? null)
      .catch(() => null)
      .finally(() => {
        asked = null;
      });
    const answer = await asked;
    return answer === null ? [] : read(answer);
  };
  return [
    gauge(
      "sluice_activities_waiting",
      "Activities that wait to be applied.",
      readStats(({ waiting }) => single(waiting)),
    ),
    gauge(
      "sluice_activities_waiting_bytes",
      "Bytes of the batches of activities that wait to be applied.",
      readStats(({ waitingSize }) => (waitingSize === null ? [] : single(waitingSize))),
    ),
    gauge(
      "sluice_activities_lag_seconds",
      "How long the oldest of them waits.",
      readStats(({ lag }) => single(lag / 1000)),
    ),
    gauge(
      "sluice_activities_callers",
      "Callers that posted a batch within the last minute: consumers, and addresses of those who are nobody; 10,000 at most.",
      readStats(({ callers }) => single(callers)),
    ),
    counter(
      "sluice_activities_total",
      "Activities by what became of them.",
      readStats((counts) =>
        (["accepted", "applied", "failed", "rejected"] as const).map((result) => ({ labels: { result }, value: counts[result] })),
      ),
      "keeper",
    ),
    gauge(
      "sluice_activities_sink_waiting",
      "Activities that wait to be applied to a sink.",
      readStats(({ sinks }) =>
        sinks.flatMap(({ name, waiting }) => (waiting === null ? [] : [{ labels: { sink: name }, value: waiting }])),
      ),
    ),
    gauge(
      "sluice_activities_sink_lag_seconds",
      "How long the oldest activity waits that was not applied to a sink.",
      readStats(({ sinks }) => sinks.flatMap(({ name, lag }) => (lag === null ? [] : [{ labels: { sink: name }, value: lag / 1000 }]))),
    ),
    gauge(
      "sluice_activities_sink_up",
      "1 while activities can be applied to a sink, 0 while they can't.",
      readStats(({ sinks }) => sinks.map(({ name, state }) => ({ labels: { sink: name }, value: state === "away" ? 0 : 1 }))),
    ),
    counter(
      "sluice_activities_sink_total",
      "Activities by what became of them in a sink.",
      readStats(({ sinks }) =>
        sinks.flatMap(({ name, ...counts }) =>
          (["applied", "failed"] as const).map((result) => ({ labels: { sink: name, result }, value: counts[result] })),
        ),
      ),
      "keeper",
    ),
  ];
}
