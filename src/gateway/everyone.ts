import { CACHE_COUNTS, CACHE_REQUESTS, type CacheCounts } from "../cache/counts.ts";
import type { CallersDenial, Denial } from "../explain/denials.ts";
import type { AttemptName, LastFailure } from "../models/last-failures.ts";
import { ofAll } from "../shared/of-all.ts";
import type { ProcessNumbers } from "../stats/processes.ts";
import type { Metrics } from "../telemetry/metrics.ts";
import type { Ground } from "./ground.ts";
import type { Services } from "./services.ts";

/** Milliseconds between two additions of what is counted elsewhere to what outlives the process. */
const MIRROR_EVERY = 1000;
/** Milliseconds between two looks whether processes have died whose counts are to be put together. */
const ABSORB_EVERY = 5000;

/** Asks all processes of the gateway for what each knows by itself. In a gateway of one process that is this one. */
export interface Everyone {
  /** Gives the numbers of each process, the workers' first. */
  processes(): Promise<readonly ProcessNumbers[]>;
  /** Gives the refusals of callers that are remembered, in no order. */
  denials(callers: readonly string[]): Promise<readonly Denial[]>;
  /** Gives the last refusals of all callers, so many of each process, in no order. */
  latestDenials(most: number): Promise<readonly CallersDenial[]>;
  /** Gives the refusal of a request; `null` when nobody remembers one. */
  denialOf(requestId: string): Promise<CallersDenial | null>;
  /** Gives how attempts of virtual models have failed last, of each process. */
  modelFailures(): Promise<readonly (AttemptName & LastFailure)[]>;
}

/** Answers others what this process knows by itself, and gives what asks all of them. */
export function openEveryone(
  { bus, clock, crowd, metrics }: Ground,
  { denials, cacheStore, modelFailures }: Pick<Services, "denials" | "cacheStore" | "modelFailures">,
): Everyone {
  const since = clock.wall();
  const numbers = (): ProcessNumbers => ({
    ...{ worker: bus.role === "alone" ? "1" : bus.self, pid: process.pid, since, connections: crowd.open },
    ...{ requests: metrics.ownRequests, memory: process.memoryUsage.rss(), cached: cacheStore.stats.entries },
  });
  const numbersOf = ofAll(bus, "process", numbers);
  const denialsOf = ofAll(bus, "denials", (callers: readonly string[]): readonly Denial[] =>
    callers.flatMap((caller) => denials.of(caller)),
  );
  const latestOf = ofAll(bus, "denials.latest", (most: number) => denials.latest(most));
  const denialOf = ofAll(bus, "denials.one", (requestId: string) => denials.find(requestId));
  const failuresOf = ofAll(bus, "models.failures", () => modelFailures.all());
  return {
    modelFailures: async () => (await failuresOf(null)).flat(),
    processes: async () => [...(await numbersOf(null))].sort((a, b) => placeOf(a) - placeOf(b)),
    denials: async (callers) => (await denialsOf(callers)).flat(),
    latestDenials: async (most) => (await latestOf(most)).flat(),
    denialOf: async (requestId) => (await denialOf(requestId)).find((found) => found !== null) ?? null,
  };
}

/** Gives the place of a process among all: the keeper, whose name is no number, is the last. */
const placeOf = ({ worker }: ProcessNumbers): number => Number(worker) || Number.POSITIVE_INFINITY;

/** Has what this process counts outlive it, and tells the keeper what it can't read. */
export function countTogether({ bus, cells, metrics, every, once, scope, tell }: Ground): void {
  if (cells === null) return;
  bus.answer("metrics", () => metrics.told());
  const mirror = (): Promise<void> => metrics.mirror().catch(tell);
  every(MIRROR_EVERY, () => void mirror());
  scope.defer(mirror);
  once(ABSORB_EVERY, () => metrics.absorb());
}

/** Gives what the caches of all processes have had to do. */
export const cacheCountsOf = (metrics: Metrics): Readonly<CacheCounts> => metrics.totals(CACHE_REQUESTS, "result", CACHE_COUNTS);
