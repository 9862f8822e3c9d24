import { type Static, Type } from "@sinclair/typebox";
import type { Section } from "../config/section.ts";
import type { Fault, Path } from "../schema/faults.ts";
import { Duration, Shape, Size } from "../schema/fields.ts";
import { YEAR } from "../schema/rules.ts";
import { parseDuration } from "../values/units.ts";

export const CacheConfig = Shape(
  {
    ttl: Type.Union([Duration("A duration."), Type.Null()], {
      default: null,
      description:
        "How long a response is fresh that does not say so itself; null: a tenth of the time since it was modified (RFC 9111 §4.2.2).",
    }),
    maxEntrySize: Size("Larger responses are not kept.", { default: "1mb" }),
    shared: Type.Boolean({
      default: false,
      description:
        "One copy for all: responses to callers with a key are for all callers. Without this and perConsumer they are kept only if they say public, must-revalidate or s-maxage (RFC 9111 §3.5).",
    }),
    perConsumer: Type.Boolean({
      default: false,
      description:
        "One copy for each consumer: responses to callers with a key are given again to the same consumer alone. Callers without a key have one copy together.",
    }),
    key: Shape(
      {
        headers: Type.Array(Type.String({ pattern: "^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}$", expects: "a header's name" }), {
          default: [],
          maxItems: 16,
          description: "Request headers that tell responses apart, beside those that a response's Vary names.",
        }),
        query: Type.Union([Type.Array(Type.String({ minLength: 1, maxLength: 128 }), { maxItems: 64 }), Type.Null()], {
          default: null,
          description:
            "The query's parameters that tell responses apart. Where the cache takes part only these are forwarded, so that no other one can change what everybody gets. null: the whole query.",
        }),
      },
      "What tells responses apart beside host and path.",
      { default: {} },
    ),
  },
  "Keeps responses to GET and HEAD and gives them again, as a shared cache by RFC 9111.",
);
export type CacheConfig = Static<typeof CacheConfig>;

/** Gives what the schema can't say of a route's cache. Paths begin with `at`. */
export function cacheFaults(cache: CacheConfig, at: Path): Fault[] {
  const faults: Fault[] = [];
  if (cache.ttl !== null && parseDuration(cache.ttl) > YEAR) faults.push({ path: [...at, "ttl"], message: "must be at most 366d" });
  if (cache.shared && cache.perConsumer)
    faults.push({
      path: [...at, "perConsumer"],
      message: "and shared contradict each other: one copy for each consumer, or one for all",
    });
  return faults;
}

/** How the responses of all routes are kept. */
export const CacheStoreConfig = Shape(
  {
    maxSize: Size("How much memory kept responses may take, over all routes; the least recently used goes first.", { default: "64mb" }),
  },
  "How responses are kept.",
  { default: {} },
);

export const cacheSection: Section<"cache", typeof CacheStoreConfig> = { name: "cache", schema: CacheStoreConfig };
