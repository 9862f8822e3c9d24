import { Type } from "@sinclair/typebox";
import { Elysia } from "elysia";
import type { Audit } from "../audit/audit.ts";
import { invalid } from "../http/refused.ts";

const count = (description: string) => Type.Integer({ description });

const Statistics = {
  entries: count("Responses that are kept."),
  size: count("Bytes they take."),
  maxSize: count("Bytes they may take."),
  evicted: count("Responses that had to go for want of room."),
  hits: count("Requests answered with a fresh one."),
  misses: count("Requests that had to be forwarded."),
  stale: count("Requests answered with a stale one, where that is allowed."),
  revalidated: count("Stale ones that the backend confirmed (304)."),
  collapsed: count("Requests that waited for another one for the same."),
  stored: count("Responses that were kept."),
  bypassed: count("Requests that the cache has no part in, such as those for a range."),
};

export type CacheStatistics = Readonly<Record<keyof typeof Statistics, number>>;

/** Says what is to be forgotten: the responses of a route, those whose path begins so, or all. */
export interface Purge {
  readonly route?: string | undefined;
  readonly prefix?: string | undefined;
}

/** Gives the admin API what it must know of the cache. */
export interface CacheView {
  /** Bytes now, and counts since the start, of all processes together. */
  readonly statistics: () => Promise<CacheStatistics>;
  /** Forgets what is meant, in all processes. Gives how many responses that were. */
  readonly purge: (what: Purge) => Promise<number>;
}

export const cacheAdmin = (cache: CacheView, audit: Audit) =>
  new Elysia({ prefix: "/cache", tags: ["cache"], normalize: false })
    .get("/", () => cache.statistics(), {
      response: Type.Object(Statistics),
      detail: {
        summary: "Cache statistics",
        description: "Each worker has a cache of its own, of cache.maxSize: the numbers are those of all of them together.",
      },
    })
    .delete(
      "/",
      async ({ query: { route, prefix } }) => {
        if (prefix !== undefined && !prefix.startsWith("/")) throw invalid([{ path: ["prefix"], message: 'must begin with "/"' }]);
        const purged = await cache.purge({ route, prefix });
        audit.note({ action: "cache.purge", subject: "cache", after: { route, prefix, purged } });
        return { purged };
      },
      {
        query: Type.Object({
          route: Type.Optional(Type.String({ description: "Only responses of this route." })),
          prefix: Type.Optional(
            Type.String({ description: "Only responses whose path begins so.", examples: ["/api/users"], shown: { pattern: "^/" } }),
          ),
        }),
        response: Type.Object({ purged: count("Responses that were purged.") }),
        detail: { summary: "Purge the cache", description: "The responses of a route, below a path, or all; in all workers." },
      },
    );
