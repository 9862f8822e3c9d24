import { counter, type Family, gauge, single } from "../values/family.ts";
import type { CacheCounts } from "./counts.ts";
import type { CacheStore } from "./store.ts";

/** Tells Prometheus how much is kept, and what that was good for. */
export const cacheFamilies = (store: CacheStore, counts: Readonly<CacheCounts>): readonly Family[] => [
  gauge("sluice_cache_bytes", "Bytes of kept responses.", () => single(store.stats.size)),
  gauge("sluice_cache_entries", "Kept responses.", () => single(store.stats.entries)),
  counter("sluice_cache_requests_total", "What the cache had to do with requests.", () =>
    (["hits", "misses", "stale", "revalidated", "collapsed", "bypassed"] as const).map((result) => ({
      labels: { result },
      value: counts[result],
    })),
  ),
];
