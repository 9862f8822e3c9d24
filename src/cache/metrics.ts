import { counter, type Family, gauge, single } from "../values/family.ts";
import { CACHE_REQUESTS, type CacheCounts } from "./counts.ts";
import type { CacheStore } from "./store.ts";

/** Tells Prometheus how much is kept, and what that was good for. `counts`: those of all processes. */
export const cacheFamilies = (store: CacheStore, counts: () => Readonly<CacheCounts>): readonly Family[] => [
  gauge("sluice_cache_bytes", "Bytes of kept responses.", () => single(store.stats.size), "sum"),
  gauge("sluice_cache_entries", "Kept responses.", () => single(store.stats.entries), "sum"),
  counter(
    CACHE_REQUESTS,
    "What the cache had to do with requests.",
    () => {
      const all = counts();
      return (["hits", "misses", "stale", "revalidated", "collapsed", "bypassed"] as const).map((result) => ({
        labels: { result },
        value: all[result],
      }));
    },
    "keeper",
  ),
];
