import { type Static, Type } from "@sinclair/typebox";
import type { Known, Section } from "../config/section.ts";
import { isOwnField } from "../exchange/settings.ts";
import { type Fault, orNearest, type Path } from "../schema/faults.ts";
import { Duration, FIELD_NAME, filledIn, IDENTIFIER, Identifier, Shape } from "../schema/fields.ts";
import { YEAR } from "../schema/rules.ts";
import { UsageField } from "../tokens/settings.ts";
import { isLoopbackHost } from "../values/ip.ts";
import { DOLLARS, nanoOf } from "../values/money.ts";
import { parseDuration } from "../values/units.ts";

/** Describes what stands in the field that carries a pool's key. */
export const KeyFieldValue = Type.Optional(
  Type.String({
    pattern: "^[\\x20-\\x7e]{0,512}$",
    description: 'The field\'s value, with {key} where the key stands. By default "Bearer {key}" for Authorization and "{key}" for others.',
    expects: "printable ASCII with {key} in it",
    examples: ["Bearer {key}"],
  }),
);

export const CredentialConfig = Shape(
  {
    pool: Type.String({ minLength: 1, maxLength: 128, description: "The pool whose keys are used.", examples: ["openai"] }),
    header: Type.String({
      pattern: FIELD_NAME,
      default: "Authorization",
      description: "The field that carries the key. What the caller sends in it is dropped.",
      expects: "a header's name",
    }),
    value: KeyFieldValue,
    cost: Type.Union(
      [
        Type.Integer({ minimum: 0, maximum: 1e12 }),
        Type.Literal("estimate"),
        Type.Literal("route"),
        Type.String({ pattern: "^header:[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}$" }),
      ],
      {
        default: "estimate",
        description:
          'What is reserved of a key\'s tokens before a request is sent: a number, "route" for the route\'s cost, "header:NAME" for what the caller\'s field says, or "estimate": the route\'s cost if it is more than 1, otherwise the body\'s text by four bytes a token, and max_tokens.',
        expects: 'a number, "estimate", "route" or "header:NAME"',
      },
    ),
    usage: UsageField(
      'Where a response says what it cost, in JSON and in streams of events. "auto": where chat completions, responses, messages and embeddings have it (usage.total_tokens, response.usage.total_tokens, or input_tokens and output_tokens with the cache\'s tokens). Several paths are added up; null: what was reserved stays.',
      {
        default: "auto",
      },
    ),
    probe: Type.Union([Type.String({ pattern: "^/[\\x21-\\x7e]{0,1023}$" }), Type.Null()], {
      default: null,
      description:
        "Where the upstream is asked (GET, with the key and nothing of the caller's) whether it takes a key, when no other key could tell if a refusal was about the key or about the request. A path below the target's; null: the route's path with /models behind it, as OpenAI and Anthropic have it.",
      expects: "a path that begins with /, or null",
      examples: ["/v1/models"],
    }),
    drop: Type.Array(Type.String({ pattern: FIELD_NAME }), {
      default: ["OpenAI-Organization", "OpenAI-Project", "ChatGPT-Account-ID", "X-Goog-User-Project"],
      maxItems: 64,
      description:
        "Fields of callers that the upstream does not get, since they choose whose account a request is for: with the pool's keys that is not the callers' to say. To send your own, set them in headers.request.set.",
    }),
  },
  "Sends requests with a key of a pool, within its budgets.",
);
export type CredentialConfig = Static<typeof CredentialConfig>;

/** Gives the faults of a route's credential that the schema can't express. Paths begin with `at`. */
export const credentialFaults = (credential: CredentialConfig, known: Known, at: Path): Fault[] => [
  ...poolFault(credential.pool, known, at),
  ...keyFieldFaults(credential, at),
];

/** Gives the fault of the name of a pool that there is not. */
export const poolFault = (pool: string, known: Known, at: Path): Fault[] =>
  known.pools.has(pool)
    ? []
    : [{ path: [...at, "pool"], message: `there is no pool ${JSON.stringify(pool)}${orNearest(pool, known.pools)}` }];

/** Gives the faults of the field that carries a pool's key. */
export function keyFieldFaults({ header, value }: Partial<Pick<CredentialConfig, "header" | "value">>, at: Path): Fault[] {
  const faults: Fault[] = [];
  if (header !== undefined && (isOwnField(header, "request") || header.toLowerCase() === "host"))
    faults.push({ path: [...at, "header"], message: "is Sluice's own to set" });
  if (value !== undefined && value.split("{key}").length !== 2) faults.push({ path: [...at, "value"], message: 'must hold "{key}" once' });
  return faults;
}

const BudgetLimit = (description: string, examples: (number | string)[]) =>
  Type.Union([Type.Integer({ minimum: 1, maximum: 1e12 }), Type.String({ pattern: DOLLARS })], {
    description,
    expects: 'a whole number from 1, or with cost usd an amount in dollars such as "25.00"',
    examples,
  });

export const PoolConfig = Shape(
  {
    strategy: Type.Union([Type.Literal("in-order"), Type.Literal("most-remaining"), Type.Literal("round-robin")], {
      default: "in-order",
      description: "Which key is handed out: the first whose budget holds the cost, the one with most left, or each in turn.",
    }),
    keys: Type.Array(
      Shape(
        {
          id: Identifier("How the key is called in logs and the admin API; handed out itself when it has no secret."),
          secret: Type.Optional(
            Type.String({
              // It stands in a header.
              pattern: "^[!-~]([ -~]{0,4094}[!-~])?$",
              expects: "printable ASCII without a line break, or spaces at its ends",
              description: 'What is handed out. Take it from the environment: "${OPENAI_KEY_1}".',
              secret: true,
            }),
          ),
          cost: Type.Optional(
            Type.Literal("usd", {
              description: 'usd: limit is an amount in dollars, such as "25.00", and a request takes what it costs by the prices.',
            }),
          ),
          limit: Type.Optional(
            BudgetLimit("Tokens in a window, which opens with the first grant; with cost usd an amount in dollars.", [1000, "25.00"]),
          ),
          window: Type.Optional(Duration("The window of limit.", { examples: ["60s"] })),
          budgets: Type.Optional(
            Type.Array(
              Shape(
                {
                  of: Type.Optional(
                    Type.Union([Type.Literal("requests"), Type.Literal("tokens")], {
                      description: "What is counted, where it is not money.",
                    }),
                  ),
                  cost: Type.Optional(Type.Literal("usd", { description: "usd: money is counted, by the prices." })),
                  limit: BudgetLimit("How many in a window; with cost usd an amount in dollars.", [500, "5.00"]),
                  window: Duration("The window, which opens with the first grant."),
                },
                "One budget.",
              ),
              { maxItems: 8, description: "Further budgets, each with its own window: all of them must hold." },
            ),
          ),
        },
        "One upstream credential.",
      ),
      { minItems: 1, maxItems: 256, description: "The credentials, in order." },
    ),
    services: Type.Record(
      Type.String({ pattern: IDENTIFIER }),
      Shape(
        { cost: Type.Integer({ minimum: 1, maximum: 1e12, description: "Tokens that one grant takes.", examples: [300] }) },
        "What may be asked for.",
      ),
      { additionalProperties: false, default: {}, description: "Services by name: what a grant for each costs." },
    ),
    auth: Type.Union([Type.Literal("required"), Type.Literal("none")], {
      default: "required",
      description: "Whether callers of /api/v1/api-key need a key. none hands credentials out to anybody: for demos only.",
    }),
  },
  "Upstream credentials that are handed out within their budgets.",
);
export type PoolConfig = Static<typeof PoolConfig>;

/** Says that a limit is not in its unit. */
function limitFault(cost: "usd" | undefined, limit: number | string, path: Path, say: (path: Path, message: string) => unknown): void {
  if (cost === undefined && typeof limit === "string") say(path, 'must be a whole number, or stand beside "cost": "usd"');
  if (cost === "usd" && typeof limit === "number") say(path, `must be an amount in dollars in quotes, such as "${limit}.00"`);
  if (cost === "usd" && nanoOf(String(limit)) === 0) say(path, "must be more than zero");
}

function windowFault(window: string, path: Path, say: (path: Path, message: string) => unknown): void {
  if (parseDuration(window) < 1 || parseDuration(window) > YEAR) say(path, "must be from 1ms to 366d");
}

const isInMoney = ({ cost, budgets = [] }: PoolConfig["keys"][number]): boolean =>
  cost === "usd" || budgets.some((budget) => budget.cost === "usd");

/** Gives the faults of a pool that the schema can't express. Paths begin with `at`. */
export function poolFaults(pool: PoolConfig, at: Path = []): Fault[] {
  const faults: Fault[] = [];
  const say = (path: Path, message: string) => faults.push({ path: [...at, ...path], message });
  for (const [i, { id, cost, limit, window, budgets = [] }] of pool.keys.entries()) {
    if (pool.keys.findIndex((key) => key.id === id) < i) say(["keys", i, "id"], "stands here twice");
    if ((limit === undefined) !== (window === undefined))
      say(["keys", i, limit === undefined ? "limit" : "window"], "limit and window go together");
    if (limit === undefined && window === undefined && budgets.length === 0)
      say(["keys", i, "limit"], "a key needs a budget: limit and window, or budgets");
    if (window !== undefined) windowFault(window, ["keys", i, "window"], say);
    if (limit !== undefined) limitFault(cost, limit, ["keys", i, "limit"], say);
    else if (cost !== undefined) say(["keys", i, "cost"], "goes with limit and window");
    for (const [j, budget] of budgets.entries()) {
      const at = ["keys", i, "budgets", j];
      if ((budget.of === undefined) === (budget.cost === undefined)) say(at, 'needs either "of": "requests" or "tokens", or "cost": "usd"');
      limitFault(budget.cost, budget.limit, [...at, "limit"], say);
      windowFault(budget.window, [...at, "window"], say);
    }
  }
  if (Object.keys(pool.services).length > 0 && pool.keys.every(isInMoney))
    say(
      ["services"],
      "nothing can be handed out: a key with a budget in dollars never is, since nobody could tell what is spent with it. Add a key without one, or leave services out",
    );
  return faults;
}

const schema = Type.Record(Type.String({ pattern: IDENTIFIER }), filledIn(PoolConfig), {
  additionalProperties: false,
  default: {},
  description: "Pools of upstream credentials by name, handed out by POST /api/v1/api-key.",
});

export const poolsSection: Section<"pools", typeof schema> = {
  name: "pools",
  schema,
  faults: (pools) => Object.entries(pools).flatMap(([name, pool]) => poolFaults(pool, ["pools", name])),
  warnings: (pools, { host }) =>
    isLoopbackHost(host)
      ? []
      : Object.entries(pools).flatMap(([name, { auth }]): Fault[] =>
          auth === "none" ? [{ path: ["pools", name, "auth"], message: "none hands the pool's credentials out to anybody who asks" }] : [],
        ),
};
