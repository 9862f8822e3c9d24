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
