import { type Static, Type } from "@sinclair/typebox";
import type { Known, Section } from "../config/section.ts";
import { dashedName, isNeverCopied } from "../http/name-filter.ts";
import type { Fault, Path } from "../schema/faults.ts";
import { Duration, FIELD_NAME, filledIn, Nullable, Shape } from "../schema/fields.ts";
import { YEAR } from "../schema/rules.ts";
import { tierNameFaults } from "../tiers/settings.ts";
import { isLoopbackHost } from "../values/ip.ts";
import { parseDuration } from "../values/units.ts";

/** Algorithms whose tokens are checked with a public key, and those whose tokens are checked with the secret that signed them. */
const PUBLIC = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519"] as const;
const SECRET = ["HS256", "HS384", "HS512"] as const;
export type Algorithm = (typeof PUBLIC)[number] | (typeof SECRET)[number];

/** The algorithms of an issuer that names none. */
const DEFAULT_PUBLIC: readonly Algorithm[] = ["RS256", "ES256", "EdDSA"];
const DEFAULT_SECRET: readonly Algorithm[] = ["HS256"];

const isSecretAlgorithm = (algorithm: string): boolean => (SECRET as readonly string[]).includes(algorithm);

/** Gives the algorithms that an issuer's tokens may be signed by. */
export const algorithmsOf = ({ algorithms, secret }: Pick<IssuerConfig, "algorithms" | "secret">): readonly Algorithm[] =>
  algorithms ?? (secret === null ? DEFAULT_PUBLIC : DEFAULT_SECRET);

/** The name of an issuer: the first part of its callers' names, which ends at the first colon. */
export const ISSUER_NAME = "^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$";

/** The same in words. */
const NAME_WORDS = "1 to 64 letters, digits and . _ @ -, beginning with a letter or digit";

/** Names that no issuer may have: callers by other means have them. */
const TAKEN: readonly string[] = ["certificate"];

/** Gives the schema of a claim's name. */
export const Claim = (description: string, more: object = {}) =>
  Type.String({ pattern: "^[\\x21-\\x7e]{1,256}$", description, expects: "a claim's name, in which dots lead inwards", ...more });

const Introspection = Shape(
  {
    endpoint: Type.String({
      maxLength: 2048,
      description: "The URL that is asked, by POST.",
      examples: ["https://id.example.com/oauth2/introspect"],
    }),
    clientId: Type.String({ minLength: 1, maxLength: 256, description: "The id by which Sluice shows who asks." }),
    clientSecret: Type.String({ minLength: 1, maxLength: 1024, description: "Its secret. Take it from the environment.", secret: true }),
    cacheFor: Duration(
      "How long an answer holds, and no longer than the token. At most 5m; 0s: every request asks. A token that is taken back is good for this long.",
      { default: "30s" },
    ),
  },
  "Asks the issuer about tokens that are no JWTs (RFC 7662).",
);
export type IntrospectionConfig = Static<typeof Introspection>;

const Tier = Shape(
  {
    claim: Type.Union([Claim("The claim that names the caller's plan; dots lead inwards."), Type.Null()], {
      default: null,
      description: "The claim that names the caller's plan; dots lead inwards. null: all are of the tier in default.",
    }),
    map: Type.Record(Type.String({ minLength: 1, maxLength: 256 }), Type.String({ description: "A tier." }), {
      default: {},
      description: "The tier for each value of the claim. A token says nothing that does not stand here.",
      examples: [{ gold: "pro" }],
    }),
    default: Type.String({ default: "free", description: "The tier for every other value, and for none." }),
  },
  "Which tier the callers are of.",
  { default: {} },
);

export const IssuerConfig = Shape(
  {
    issuer: Type.String({
      minLength: 1,
      maxLength: 2048,
      description: "Who signs the tokens: their claim iss is compared with it exactly.",
      examples: ["https://id.example.com/realms/app"],
    }),
    audience: Type.Array(Type.String({ minLength: 1, maxLength: 512 }), {
      maxItems: 64,
      description:
        "Whom the tokens are for: any of these must be in aud. An empty list, which has to be written: aud is not looked at, for issuers whose tokens have none; it lets in tokens for other services.",
      examples: [["api"]],
    }),
    jwks: Type.Union([Type.String({ minLength: 1, maxLength: 2048 }), Type.Null()], {
      default: null,
      description:
        "Where the issuer's public keys are: a URL, or a file. null: where the issuer says, at .well-known/openid-configuration below its URL.",
      expects: "a URL, a file, or null",
    }),
    algorithms: Type.Optional(
      Type.Array(Type.Union([...PUBLIC, ...SECRET].map((name) => Type.Literal(name))), {
        minItems: 1,
        maxItems: PUBLIC.length,
        description: "What tokens may be signed by. By default RS256, ES256 and EdDSA; with a secret HS256.",
        examples: [["RS256", "ES256", "EdDSA"]],
      }),
    ),
    secret: Type.Union(
      [Type.String({ minLength: 32, maxLength: 1024, secret: true, description: "The secret that signs the tokens." }), Type.Null()],
      {
        default: null,
        description:
          "The secret that signs the tokens, for issuers without public keys: with it only HS256, HS384 and HS512 are taken. At least 32 characters. Whoever checks tokens could make them as well.",
      },
    ),
    clockTolerance: Duration("How far the issuer's clock may be from this one. At most 10m.", { default: "30s" }),
    maxAge: Type.Union([Duration("A duration."), Type.Null()], {
      default: null,
      description: "How long after its iat a token is taken at most; null: until its exp.",
    }),
    requiredClaims: Type.Array(Claim("A claim."), {
      default: ["exp"],
      maxItems: 32,
      description: "Claims that a token must have; dots lead inwards.",
    }),
    type: Type.Union([Type.String({ pattern: "^[\\x21-\\x7e]{1,128}$" }), Type.Null()], {
      default: null,
      description: "What the token's header must say in typ, such as at+jwt; null: anything.",
      examples: ["at+jwt"],
    }),
    consumer: Claim("The claim that names the caller; dots lead inwards. Its value is text or a number.", { default: "sub" }),
    trustNames: Type.Boolean({
      default: false,
      description:
        "Whether the claim's value itself is the consumer's id, without the issuer's name before it. The issuer can then speak for every consumer.",
    }),
    tier: Tier,
    scopes: Type.Union([Claim("The claim that holds the scopes."), Type.Null()], {
      default: "scope",
      description: "The claim that holds the caller's scopes: text with spaces between them, or a list. null: callers have none.",
    }),
    headers: Type.Record(Type.String({ pattern: FIELD_NAME }), Claim("A claim."), {
      additionalProperties: false,
      default: {},
      description:
        "Claims that the backend gets as header fields. Text, numbers, true and false of at most 1 KB; others are left out. Callers can't send these fields.",
      examples: [{ "X-User-Email": "email" }],
    }),
    forward: Type.Boolean({ default: false, description: "Whether the backend gets the token itself." }),
    introspection: Nullable(Introspection, "Asks the issuer about tokens that are no JWTs (RFC 7662); null: they are refused."),
  },
  "Somebody whose signed tokens tell who calls.",
);
export type IssuerConfig = Static<typeof IssuerConfig>;

/** The most header fields that an issuer's claims may fill, and the longest tolerance and age. */
const MAX_HEADERS = 32;
const MAX_TOLERANCE = 10 * 60_000;
/** Milliseconds for which a token is remembered at most: its issuer may take it back. */
export const MAX_CACHED = 5 * 60_000;

/** Tells whether keys or answers are fetched from a place, in place of read from a file. */
export const isUrl = (place: string): boolean => /^[a-z][a-z0-9+.-]*:\/\//i.test(place);

/** Gives what is wrong with a URL that Sluice asks itself; `null` when nothing is. */
function urlFault(text: string): string | null {
  if (!URL.canParse(text)) return "is not a URL";
  const { protocol, username, password, hash } = new URL(text);
  if (protocol !== "https:" && protocol !== "http:") return "must begin with https:// or http://";
  if (username !== "" || password !== "") return "must not hold a user or a password";
  return hash === "" ? null : "must not hold a fragment (#)";
}

/** Tells whether a backend may take a field of this name for one that Sluice writes by itself. */
function isOwn(name: string): boolean {
  const dashed = dashedName(name.toLowerCase());
  // Of the fields that tell who calls, which are never copied, Sluice writes two alone.
  if (dashed.startsWith("x-consumer-")) return dashed === "x-consumer-id" || dashed === "x-consumer-tier";
  return isNeverCopied(dashed) || dashed === "authorization" || dashed === "traceparent";
}

/** Gives the faults of an issuer that the schema can't express. Paths begin with `at`. */
export function issuerFaults(issuer: IssuerConfig, known: Pick<Known, "tiers">, at: Path = []): Fault[] {
  const faults: Fault[] = [];
  const say = (path: Path, message: string) => faults.push({ path: [...at, ...path], message });
  const { secret, algorithms = [], tier, headers, clockTolerance, maxAge, introspection } = issuer;
  for (const [i, algorithm] of algorithms.entries()) {
    if (isSecretAlgorithm(algorithm) && secret === null)
      say(["algorithms", i], `${algorithm} needs the secret that signs the tokens: set secret`);
    if (!isSecretAlgorithm(algorithm) && secret !== null)
      say(["algorithms", i], `${algorithm} can't stand beside a secret, which allows HS256, HS384 and HS512 alone`);
    if (algorithms.indexOf(algorithm) < i) say(["algorithms", i], "stands here twice");
  }
  faults.push(...keysFaults(issuer, at));
  if (parseDuration(clockTolerance) > MAX_TOLERANCE) say(["clockTolerance"], "must be at most 10m");
  if (maxAge !== null && (parseDuration(maxAge) < 1000 || parseDuration(maxAge) > YEAR)) say(["maxAge"], "must be from 1s to 366d");
  faults.push(...tierNameFaults(tier.default, known, [...at, "tier", "default"]));
  for (const [value, name] of Object.entries(tier.map)) faults.push(...tierNameFaults(name, known, [...at, "tier", "map", value]));
  if (tier.claim === null && Object.keys(tier.map).length > 0) say(["tier", "claim"], "name the claim whose values map lists");
  const names = Object.keys(headers);
  if (names.length > MAX_HEADERS) say(["headers"], `must have at most ${MAX_HEADERS} entries`);
  for (const [i, name] of names.entries()) {
    if (isOwn(name)) say(["headers", name], "is Sluice's own to set");
    if (names.findIndex((other) => other.toLowerCase() === name.toLowerCase()) < i) say(["headers", name], "stands here twice");
  }
  if (introspection !== null) {
    const wrong = urlFault(introspection.endpoint);
    if (wrong !== null) say(["introspection", "endpoint"], wrong);
    if (parseDuration(introspection.cacheFor) > MAX_CACHED) say(["introspection", "cacheFor"], "must be at most 5m");
  }
  return faults;
}

/** Gives the faults of what says where an issuer's keys are. */
function keysFaults({ issuer, jwks, secret }: IssuerConfig, at: Path): Fault[] {
  const say = (field: keyof IssuerConfig, message: string): Fault[] => [{ path: [...at, field], message }];
  if (secret !== null)
    return jwks === null ? [] : say("jwks", "can't stand beside a secret: tokens would be taken that the secret has not signed");
  if (jwks !== null) {
    const wrong = isUrl(jwks) ? urlFault(jwks) : null;
    return wrong === null ? [] : say("jwks", wrong);
  }
  const wrong = urlFault(issuer);
  return wrong === null ? [] : say("issuer", `${wrong}, so that its keys can't be found by it: set jwks`);
}

/** Gives the faults of a name for an issuer. */
export const issuerNameFaults = (name: string, at: Path): Fault[] =>
  TAKEN.includes(name)
    ? [{ path: at, isOfName: true, message: "is taken: callers with client certificates have it before their names" }]
    : [];

/** The names of issuers that the admin API makes. */
export const ISSUER_NAMES = { pattern: ISSUER_NAME, expects: NAME_WORDS, faults: issuerNameFaults };

/** Says that another issuer has this `issuer`: a token would have two. */
export const isIssuerOf = (other: string): string => `is the issuer of ${JSON.stringify(other)} already`;

/** Gives a fault for each issuer whose `issuer` an earlier one has. */
function sameIssuers(issuers: Readonly<Record<string, IssuerConfig>>): Fault[] {
  const seen = new Map<string, string>();
  return Object.entries(issuers).flatMap(([name, { issuer }]): Fault[] => {
    const before = seen.get(issuer);
    if (before === undefined) seen.set(issuer, name);
    return before === undefined ? [] : [{ path: ["issuers", name, "issuer"], message: isIssuerOf(before) }];
  });
}

/** Gives the places that Sluice asks about an issuer's keys and tokens, each with the field that names it. */
export const askedPlaces = ({ issuer, jwks, secret, introspection }: IssuerConfig): { readonly path: Path; readonly place: string }[] => [
  ...(secret !== null ? [] : [jwks === null ? { path: ["issuer"], place: issuer } : { path: ["jwks"], place: jwks }]),
  ...(introspection === null ? [] : [{ path: ["introspection", "endpoint"], place: introspection.endpoint }]),
];

/** Tells whether what is sent to a URL can be read, or answered, by others on the way. */
const isOpenOnTheWay = (place: string): boolean => {
  if (!URL.canParse(place)) return false;
  const { protocol, hostname } = new URL(place);
  return protocol === "http:" && !isLoopbackHost(hostname.replace(/^\[|\]$/g, ""));
};

/** Gives what is valid and hardly meant of an issuer. Paths begin with `at`. */
function issuerWarnings({ issuer, audience, jwks, secret, trustNames, requiredClaims, introspection }: IssuerConfig, at: Path): Fault[] {
  const warnings: Fault[] = [];
  const say = (path: Path, message: string) => warnings.push({ path: [...at, ...path], message });
  if (audience.length === 0) say(["audience"], "is empty, so that tokens which the issuer made for other services are taken here");
  if (secret === null) {
    const field = jwks === null ? "issuer" : "jwks";
    if (isOpenOnTheWay(jwks ?? issuer))
      say([field], "is http: whoever is on the way can put keys of their own in the place of the issuer's");
  }
  if (introspection !== null && isOpenOnTheWay(introspection.endpoint))
    say(["introspection", "endpoint"], "is http: whoever is on the way reads the tokens and the client's secret");
  if (trustNames) say(["trustNames"], "lets this issuer speak for every consumer, also for those with keys");
  if (!requiredClaims.includes("exp")) say(["requiredClaims"], "is without exp, so that tokens are taken that never expire");
  return warnings;
}

const schema = Type.Record(Type.String({ pattern: ISSUER_NAME }), filledIn(IssuerConfig), {
  additionalProperties: false,
  default: {},
  names: NAME_WORDS,
  description: "Issuers by name: their tokens tell who calls, as NAME:VALUE.",
});

export const issuersSection: Section<"issuers", typeof schema> = {
  name: "issuers",
  schema,
  faults: (issuers, known) => [
    ...Object.entries(issuers).flatMap(([name, issuer]) => [
      ...issuerNameFaults(name, ["issuers", name]),
      ...issuerFaults(issuer, known, ["issuers", name]),
    ]),
    ...sameIssuers(issuers),
  ],
  warnings: (issuers) => [
    ...Object.entries(issuers).flatMap(([name, issuer]) => issuerWarnings(issuer, ["issuers", name])),
    ...secretsBeside(issuers),
  ],
};

/** Warns of secrets that stand beside public keys: of two issuers, one can be forged by whoever checks its tokens. */
function secretsBeside(issuers: Readonly<Record<string, IssuerConfig>>): Fault[] {
  const all = Object.entries(issuers);
  if (all.every(({ 1: { secret } }) => secret !== null)) return [];
  return all.flatMap(([name, { secret }]): Fault[] =>
    secret === null
      ? []
      : [
          {
            path: ["issuers", name, "algorithms"],
            message: "takes tokens by a shared secret (HMAC) beside issuers with public keys, which are safer",
          },
        ],
  );
}
