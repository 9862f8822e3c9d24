import { counter, type Family, gauge, type Sample, single } from "../values/family.ts";
import type { Activities } from "./activities.ts";
import type { ActivityStats } from "./engine.ts";

/** Tells Prometheus of activities; nothing while there are none, or while their worker does not answer. */
export function activityFamilies(activities: () => Activities | null): readonly Family[] {
  /** The answer to one scrape, of which several metrics read. */
  let asked: Promise<ActivityStats | null> | null = null;
  const readStats = (read: (stats: ActivityStats) => Sample[]) => async (): Promise<Sample[]> => {
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
      readStats(({ waitingSize }) => single(waitingSize)),
    ),
    gauge(
      "sluice_activities_lag_seconds",
      "How long the oldest of them waits.",
      readStats(({ lag }) => single(lag / 1000)),
    ),
    counter(
      "sluice_activities_total",
      "Activities by what became of them.",
      readStats((counts) =>
        (["accepted", "applied", "failed", "rejected"] as const).map((result) => ({ labels: { result }, value: counts[result] })),
      ),
    ),
  ];
}
