/** The names of what is counted, and of the metric that tells most of it. */
export const CACHE_COUNTS = ["hits", "misses", "stale", "revalidated", "collapsed", "stored", "bypassed"] as const;
export const CACHE_REQUESTS = "sluice_cache_requests_total";

/** Gives counts in which nothing is counted yet. */
export const noCacheCounts = (): CacheCounts => ({ hits: 0, misses: 0, stale: 0, revalidated: 0, collapsed: 0, stored: 0, bypassed: 0 });

/** Counts the cache's answers since the start. */
export interface CacheCounts {
  hits: number;
  misses: number;
  /** Stale ones given, for whatever reason. */
  stale: number;
  revalidated: number;
  /** Requests that waited for another one's answer. */
  collapsed: number;
  stored: number;
  bypassed: number;
}
