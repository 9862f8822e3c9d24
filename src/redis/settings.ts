import { type Static, Type } from "@sinclair/typebox";
import type { Section } from "../config/section.ts";
import { Duration, Shape } from "../schema/fields.ts";

const Node = Type.String({ pattern: "^[A-Za-z0-9.:[\\]_-]{1,256}$", expects: 'a host, or "host:port"' });

export const RedisConfig = Shape(
  {
    url: Type.Optional(
      Type.String({
        pattern: "^rediss?://[^/?#\\s]+(/\\d{0,2})?$",
        maxLength: 2048,
        description:
          "Where Redis is; rediss:// for TLS, with user and password if need be. Take those from the environment. May be left out with sentinel or cluster, where Redis asks for no password.",
        expects: 'a URL such as "redis://127.0.0.1:6379"',
        examples: ["redis://127.0.0.1:6379"],
        secret: true,
        isUrl: true,
      }),
    ),
    sentinel: Type.Union(
      [
        Shape(
          {
            name: Type.String({ minLength: 1, maxLength: 128, description: "What the sentinels call the master.", examples: ["mymaster"] }),
            nodes: Type.Array(Node, { minItems: 1, maxItems: 64, description: "The sentinels." }),
            password: Type.Union([Type.String({ maxLength: 1024, secret: true }), Type.Null()], {
              default: null,
              description: "The sentinels' own password.",
            }),
          },
          "Asks sentinels where the master is; user, password and TLS are the URL's.",
        ),
        Type.Null(),
      ],
      { default: null, description: "Sentinels that know the master; null: it is at the URL." },
    ),
    cluster: Type.Array(Node, {
      default: [],
      maxItems: 256,
      description: "Nodes of the cluster, beside the one at the URL; empty: no cluster.",
    }),
    timeout: Duration(
      "How late an answer of Redis may be. Three late ones in a row, and Redis counts as away; no request waits for more than three.",
      { default: "50ms" },
    ),
    prefix: Type.String({
      pattern: "^[A-Za-z0-9_.-]{1,64}$",
      default: "sluice",
      description: "What every key begins with.",
      expects: "1 to 64 letters, digits and . _ -",
    }),
    mode: Type.Union([Type.Literal("exact"), Type.Literal("leased")], {
      default: "exact",
      description:
        "exact: Redis decides on each request. leased: instances take slices of limits for busy callers, up to a twentieth and for a second at most, and decide by themselves; never more than the limit is granted, what is left of a slice is lost. Limits of concurrency and sliding-log are always exact.",
    }),
    onFailure: Type.Union([Type.Literal("local"), Type.Literal("allow"), Type.Literal("deny")], {
      default: "local",
      description:
        "What limits do while Redis is away. local: each instance counts by itself. allow: nobody is limited. deny: limited requests get 503.",
    }),
  },
  "What several instances share.",
);
export type RedisConfig = Static<typeof RedisConfig>;

const schema = Type.Union([RedisConfig, Type.Null()], {
  default: null,
  description: "Redis, through which several instances act as one; null: this one is alone.",
});

export const redisSection: Section<"redis", typeof schema> = {
  name: "redis",
  schema,
  faults: (redis) =>
    redis === null || redis.url !== undefined || redis.sentinel !== null || redis.cluster.length > 0
      ? []
      : [{ path: ["redis", "url"], message: 'is required, unless "sentinel" or "cluster" says where Redis is' }],
  // All else needs another connection.
  restart: { allBut: ["onFailure"] },
};
