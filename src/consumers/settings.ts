import { type Static, Type } from "@sinclair/typebox";
import type { Config } from "../config/schema.ts";
import type { Known, Section } from "../config/section.ts";
import { OWN_ROUTE_NAMES } from "../exchange/own-paths.ts";
import { Limits, limitFaults, Quotas, quotaFaults } from "../limits/settings.ts";
import { type Fault, orNearest, type Path } from "../schema/faults.ts";
import { IDENTIFIER, Identifier, ModelNames, Scope, Shape } from "../schema/fields.ts";
import { cidrFaults } from "../schema/rules.ts";
import { tierNameFaults } from "../tiers/settings.ts";
import { declaredHash, isPlausible } from "../values/key-format.ts";
import { parseTime } from "../values/units.ts";

const Metadata = Type.Record(Type.String({ maxLength: 128 }), Type.Unknown(), {
  description: "Anything you want to keep with the record.",
});

const KeyText = (description: string) =>
  Type.String({
    pattern: "^[!-~]{16,512}$",
    description,
    expects: "a key of 16 to 512 printable ASCII characters without spaces",
    secret: true,
  });

/** Describes a declared key that is more than its secret. */
export const DeclaredKey = Shape(
  {
    key: KeyText('The key. Take it from the environment: "${ACME_KEY}", or give its SHA-256: "sha256:9f86…".'),
    name: Type.Optional(Type.String({ maxLength: 256, description: "A name for people." })),
    scopes: Type.Optional(Type.Array(Scope, { maxItems: 64, description: "Scopes that routes may ask for.", examples: [["users:read"]] })),
    routes: Type.Optional(
      Type.Array(Type.String({ maxLength: 1024 }), { maxItems: 256, description: "Names of the routes it may use; none means all." }),
    ),
    ips: Type.Optional(
      Type.Array(Type.String({ maxLength: 64 }), {
        maxItems: 256,
        description: "Addresses and blocks (CIDR) it may be used from; none means all.",
        examples: [["10.0.0.0/8"]],
      }),
    ),
    models: Type.Optional(ModelNames("The models it may call, as its consumer may; none means all.")),
    expiresAt: Type.Optional(
      Type.String({ maxLength: 64, description: "From when on it is refused. RFC 3339.", examples: ["2027-01-31T00:00:00Z"] }),
    ),
    limits: Type.Optional(Limits("Limits of this key, instead of its consumer's and tier's.")),
  },
  "A key with rules of its own.",
);
export type DeclaredKey = Static<typeof DeclaredKey>;

/** Gives a declared key as an object, however it was written. */
export const declaredKey = (key: string | DeclaredKey): DeclaredKey => (typeof key === "string" ? { key } : key);

/**
 * Makes the schema of a consumer's id. What a client's certificate names may be more than an identifier, such as a URL. `name`: the characters
 * of such names, as a part of a pattern.
 */
const ConsumerId = (name: string) =>
  Identifier("The consumer's id, which backends get as X-Consumer-ID.", {
    pattern: `${IDENTIFIER}|^certificate:${name}{1,128}$`,
    examples: ["acme"],
  });

/** The id of a consumer that the admin API makes: its paths hold no encoded slash. */
export const StoredConsumerId = ConsumerId("[!#-.0-[\\]-~]");

export const ConsumerConfig = Shape(
  {
    id: ConsumerId("[!#-[\\]-~]"),
    name: Type.Optional(Type.String({ maxLength: 256, description: "A name for people." })),
    tier: Type.String({ description: "The name of its tier.", examples: ["pro"] }),
    keys: Type.Array(Type.Union([KeyText("The key alone."), DeclaredKey]), {
      default: [],
      maxItems: 100,
      description:
        'Its keys. Take them from the environment: "${ACME_KEY}", or give their SHA-256: "sha256:9f86…". A key with scopes, routes, addresses, an expiry or limits of its own is an object: { "key": "${ACME_KEY}", "scopes": ["users:read"] }.',
    }),
    limits: Type.Optional(Limits("Limits of this consumer, instead of its tier's.")),
    quota: Quotas("A quota of this consumer, instead of its tier's."),
    models: Type.Optional(
      ModelNames("The models it may call with any of its keys and tokens, on routes with models, a credential or usage; none means all."),
    ),
    metadata: Type.Optional(Metadata),
    enabled: Type.Boolean({ default: true, description: "Whether its keys are good." }),
  },
  "A person or program that calls.",
);
export type ConsumerConfig = Static<typeof ConsumerConfig>;

/** Gives the faults of a consumer that the schema can't express. Paths begin with `at`. */
export const consumerFaults = (consumer: Pick<ConsumerConfig, "tier" | "limits" | "quota">, known: Known, at: Path = []): Fault[] => [
  ...limitFaults(consumer.limits ?? [], [...at, "limits"]),
  ...quotaFaults(consumer.quota, [...at, "quota"]),
  ...tierNameFaults(consumer.tier, known, [...at, "tier"]),
];

/** Gives the faults of declared keys. A key in two places would make it uncertain who calls. The key itself is not shown. */
function keyFaults({ consumers, routes }: Config): Fault[] {
  const faults: Fault[] = [];
  const seen = new Map<string, string>();
  const names = new Set([...routes.map((route) => route.name ?? route.path), ...OWN_ROUTE_NAMES]);
  for (const [i, consumer] of consumers.entries()) {
    for (const [j, given] of consumer.keys.entries()) {
      const { key, routes: allowed = [], ips = [], expiresAt, limits = [] } = declaredKey(given);
      const at = ["consumers", i, "keys", j];
      const say = (path: Path, message: string) => faults.push({ path: [...at, ...path], message });
      const place = typeof given === "string" ? [] : ["key"];
      if (key.startsWith("sha256:") && !/^sha256:[0-9a-f]{64}$/.test(key))
        say(place, "a hash has 64 hexadecimal digits in small letters behind sha256:");
      else if (!isPlausible(key)) say(place, "reads like a key that Sluice made, but its checksum is wrong: it is mistyped or cut off");
      // A key and its hash are one key.
      const hash = declaredHash(key);
      const before = seen.get(hash);
      if (before !== undefined) say(place, `is the same key as ${before}`);
      else seen.set(hash, `consumers[${i}].keys[${j}]`);
      for (const [k, name] of allowed.entries())
        if (!names.has(name)) say(["routes", k], `there is no route ${JSON.stringify(name)}${orNearest(name, names)}`);
      faults.push(...cidrFaults(ips, [...at, "ips"]));
      if (expiresAt !== undefined && parseTime(expiresAt) === null)
        say(["expiresAt"], `must be an RFC 3339 time such as "2027-01-31T00:00:00Z", got ${JSON.stringify(expiresAt)}`);
      faults.push(...limitFaults(limits, [...at, "limits"]));
    }
  }
  return faults;
}

/** Gives a fault for each consumer whose id an earlier one has. */
function idFaults(consumers: readonly ConsumerConfig[]): Fault[] {
  const ids = new Map<string, number>();
  return consumers.flatMap(({ id }, i): Fault[] => {
    const before = ids.get(id);
    ids.set(id, i);
    return before === undefined ? [] : [{ path: ["consumers", i, "id"], message: `is the id of consumers[${before}] already` }];
  });
}

const schema = Type.Array(ConsumerConfig, { default: [], description: "Declared consumers and their keys." });

export const consumersSection: Section<"consumers", typeof schema> = {
  name: "consumers",
  schema,
  faults: (consumers, known, config) => [
    ...keyFaults(config),
    ...consumers.flatMap((consumer, i) => consumerFaults(consumer, known, ["consumers", i])),
    ...idFaults(consumers),
  ],
  warnings: (consumers, { now }) =>
    consumers.flatMap((consumer, i) =>
      consumer.keys.flatMap((key, j): Fault[] => {
        const { expiresAt } = declaredKey(key);
        const at = expiresAt === undefined ? null : parseTime(expiresAt);
        return at === null || at > now ? [] : [{ path: ["consumers", i, "keys", j, "expiresAt"], message: "is over: this key is refused" }];
      }),
    ),
};
