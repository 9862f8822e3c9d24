import { type Static, Type } from "@sinclair/typebox";
import type { Config } from "../config/schema.ts";
import type { Known, Section } from "../config/section.ts";
import { KeyFieldValue, keyFieldFaults, poolFault } from "../pools/settings.ts";
import type { Fault, Path } from "../schema/faults.ts";
import { Duration, FIELD_NAME, Shape } from "../schema/fields.ts";
import { timeFaults } from "../schema/rules.ts";
import { upstreamNameFault } from "../upstreams/settings.ts";
import { matchesName } from "../values/name-patterns.ts";
import { parseDuration } from "../values/units.ts";

/** The names of virtual models: they stand in paths and metrics, and are no patterns. */
const MODEL_NAME = "^[A-Za-z0-9][A-Za-z0-9._@:/-]{0,127}$";
/** The most virtual models, and the most attempts of each. */
const MAX_MODELS = 256;
const MAX_ATTEMPTS = 16;

export const AttemptConfig = Shape(
  {
    upstream: Type.String({
      minLength: 1,
      maxLength: 2048,
      description: "Who is asked: the name of an upstream, or a URL. The route's path rules hold for it as for the route's own upstream.",
      examples: ["openai"],
    }),
    model: Type.String({
      pattern: "^[!-~]{1,256}$",
      description: "What the upstream calls the model: it takes the place of the name that the caller gave.",
      expects: "printable ASCII without spaces",
      examples: ["gpt-5"],
    }),
    pool: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: 128,
        description: "The pool whose keys it is asked with. Left out: without a key, whatever credential the route has.",
        examples: ["openai"],
      }),
    ),
    header: Type.Optional(
      Type.String({
        pattern: FIELD_NAME,
        description: "The field that carries the key; by default Authorization.",
        expects: "a header's name",
        examples: ["x-api-key"],
      }),
    ),
    value: KeyFieldValue,
    weight: Type.Integer({
      minimum: 1,
      maximum: 1000,
      default: 1,
      description: "How often it is asked first, beside the others that are no fallback.",
    }),
    fallback: Type.Boolean({
      default: false,
      description: "Whether it is asked only after all that are no fallback have failed; fallbacks are asked in the order of the list.",
    }),
  },
  "One upstream and its model.",
);
export type AttemptConfig = Static<typeof AttemptConfig>;

export const VirtualModelConfig = Shape(
  {
    try: Type.Array(AttemptConfig, {
      minItems: 1,
      maxItems: MAX_ATTEMPTS,
      description: "Who is asked. All of them must speak the interface that callers speak: nothing is translated.",
    }),
    on: Type.Array(
      Type.String({
        pattern: "^([45][0-9][0-9]|[45]xx|timeout|connect|budget)$",
        expects: '"timeout", "connect", "budget", a status such as "429", "4xx" or "5xx"',
      }),
      {
        default: ["429", "5xx", "timeout", "connect", "budget"],
        maxItems: 64,
        description:
          "After which outcomes the next one is asked: statuses, those of errors at the beginning of a stream among them; timeout: nothing to read within firstToken; connect: no connection, one that broke, or no healthy target; budget: no key of the pool can take the request. The route's retry has no say.",
      },
    ),
    firstToken: Duration(
      "How long an upstream may take to have something to read: of a stream its first event with content, of an answer in one piece the first byte of its body. Then it is given up, and the next one asked. Raise it for models that think for long.",
      { default: "15s" },
    ),
    giveUpAfter: Duration("How long all attempts together may take to that.", { default: "30s" }),
  },
  "A name that callers may use as a model, and who answers to it.",
);
export type VirtualModelConfig = Static<typeof VirtualModelConfig>;

const schema = Type.Record(Type.String({ pattern: MODEL_NAME }), VirtualModelConfig, {
  additionalProperties: false,
  default: {},
  maxProperties: MAX_MODELS,
  description: "Virtual models by name, for routes that name them in models.",
});

export const modelsSection: Section<"models", typeof schema> = {
  name: "models",
  schema,
  faults: (models, known, config) => Object.entries(models).flatMap(([name, model]) => modelFaults(model, known, config, ["models", name])),
  warnings: (models, { config }) =>
    Object.keys(models).flatMap((name): Fault[] => {
      const isOffered = config.routes.some((route) => route.models.some((pattern) => matchesName(pattern, name)));
      return isOffered ? [] : [{ path: ["models", name], message: 'is named by no route\'s "models", so that nobody can call it' }];
    }),
};

/** Gives the faults of a virtual model that its schema can't express. Paths begin with `at`. */
function modelFaults({ try: attempts, firstToken, giveUpAfter }: VirtualModelConfig, known: Known, config: Config, at: Path): Fault[] {
  const faults: Fault[] = [
    ...attempts.flatMap((attempt, i) => attemptFaults(attempt, known, config, [...at, "try", i])),
    ...timeFaults(firstToken, [...at, "firstToken"]),
    ...timeFaults(giveUpAfter, [...at, "giveUpAfter"]),
  ];
  if (attempts.every(({ fallback }) => fallback))
    faults.push({ path: [...at, "try"], message: 'has fallbacks alone: leave "fallback" out where the first attempt goes' });
  if (parseDuration(firstToken) > parseDuration(giveUpAfter))
    faults.push({ path: [...at, "firstToken"], message: "must not be longer than giveUpAfter, in which all attempts have to fit" });
  return faults;
}

function attemptFaults(
  { upstream, pool, header, value, weight, fallback }: AttemptConfig,
  known: Known,
  config: Config,
  at: Path,
): Fault[] {
  const faults: Fault[] = [];
  const say = (field: keyof AttemptConfig, message: string) => faults.push({ path: [...at, field], message });
  const wrongName = upstreamNameFault(upstream, known.upstreams);
  if (wrongName !== null) say("upstream", wrongName);
  if (config.upstreams[upstream]?.protocol === "grpc") say("upstream", "speaks gRPC, in which no interface of models is known");
  if (pool !== undefined) faults.push(...poolFault(pool, known, at));
  if (pool === undefined && header !== undefined) say("header", 'means nothing without "pool", whose key it carries');
  if (pool === undefined && value !== undefined) say("value", 'means nothing without "pool", whose key stands in it');
  faults.push(...keyFieldFaults({ header, value }, at));
  if (fallback && weight !== 1) say("weight", "means nothing for a fallback: those are asked in the order of the list");
  return faults;
}
