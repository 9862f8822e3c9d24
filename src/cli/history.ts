import type { HistoryResponse } from "../history/admin.ts";
import { print } from "../telemetry/stdout.ts";
import { parseDuration } from "../values/units.ts";
import { type Command, type Input, UsageError } from "./arguments.ts";
import { act, ask, NO_SLUICE, PATIENCE, queryOf, REMOTE_FLAGS, RemoteFault, remotely, required, show, table, text } from "./remote.ts";

const ASKED = ["by", "name", "step", "from", "to", "limit"] as const;

export const history: Command = {
  name: "history",
  usage: "history [--by route|consumer|refusal] [--name NAME] [--last 24h] [--step minute|hour]",
  summary:
    "Shows what became of a running gateway's requests: by the minute or hour, or in sum by route, consumer or code of refusals. The last day, unless --last or --from says otherwise.",
  flags: [
    ...REMOTE_FLAGS,
    { name: "by", value: "WHAT", help: "what is told apart: route, consumer or refusal" },
    { name: "name", value: "NAME", help: "only this one, by the minute or hour" },
    { name: "last", value: "DURATION", help: "how far back, as in 30m, 24h or 90d" },
    { name: "from", value: "TIME", help: "from this time on, as in 2026-11-21T00:00:00Z" },
    { name: "to", value: "TIME", help: "before this time" },
    { name: "step", value: "STEP", help: "minute (kept for a day), hour (kept for 90 days) or auto" },
    { name: "limit", value: "N", help: "the most that are told apart, 1 to 50 (10)" },
  ],
  positionals: 0,
  run: (input) =>
    remotely(async () => {
      const found = await ask<HistoryResponse>(input, "GET", `/admin/history?${questionOf(input)}`, undefined, PATIENCE);
      if (!Array.isArray(found?.items) || !Array.isArray(found.series)) throw new RemoteFault(NO_SLUICE);
      if (input.flags.json === true) print(`${JSON.stringify(found)}\n`);
      else if (found.by !== null && text(input, "name") === undefined) table(input, sumsOf(found), columnsOf(found, found.by));
      else table(input, found.items, columnsOf(found, "time"));
    }),
};

/** Gives the query that the flags ask for. Throws `UsageError`. */
function questionOf(input: Input): URLSearchParams {
  const query = queryOf(input, ASKED);
  const last = text(input, "last");
  if (last === undefined) return query;
  if (query.has("from")) throw new UsageError("name --last or --from, not both");
  try {
    const to = query.get("to");
    query.set("from", new Date((to === null ? Date.now() : Date.parse(to)) - parseDuration(last)).toISOString());
  } catch {
    throw new UsageError(`--last must be a duration such as 30m, 24h or 90d, got ${last}`);
  }
  return query;
}

/** Gives a row for each series, and one for all together. */
const sumsOf = ({ by, total, series }: HistoryResponse): Record<string, unknown>[] => [
  ...series.map(({ name, others, total: its }) => ({ [by ?? ""]: name ?? (others ? "(others)" : "(no key)"), ...its })),
  { [by ?? ""]: "(all)", ...total },
];

/** Gives the fields that are known by this dimension. */
function columnsOf({ by }: HistoryResponse, first: string): string[] {
  const rate = first === "time" ? ["rate"] : [];
  if (by === "refusal") return [first, "requests", ...rate];
  if (by === "consumer") return [first, "requests", ...rate, "errors", "limited"];
  return [first, "requests", ...rate, "clientErrors", "errors", "limited", "p50", "p95", "p99"];
}

interface Looked {
  readonly requests: number;
  readonly refused: number;
}

interface InShadow {
  readonly owner: string;
  readonly limit: string;
  readonly max: number;
  readonly window: string | null;
  readonly source: string;
  readonly day: Looked;
  readonly week: Looked;
  readonly consumers: readonly {
    readonly consumer: string | null;
    readonly others: boolean;
    readonly day: Looked;
    readonly week: Looked;
  }[];
}

export const shadow: Command = {
  name: "shadow",
  usage: 'shadow list [--consumers] | arm "OWNER" --limit NAME',
  summary:
    "Lists the limits in shadow of a running gateway, with what they would have refused in the last day and week, or puts one in force.",
  flags: [
    ...REMOTE_FLAGS,
    { name: "consumers", help: "a line for each of the consumers that would be refused most" },
    { name: "limit", value: "NAME", help: 'the limit\'s name, as in: shadow arm "tier gold" --limit per-minute' },
  ],
  actions: ["list", "arm"],
  positionals: 2,
  run: (input) =>
    act(input, "shadow list|arm", {
      list: async () => {
        const { items } = await ask<{ items: InShadow[] }>(input, "GET", "/admin/shadow");
        if (input.flags.json === true) print(`${JSON.stringify(items)}\n`);
        else table(input, items.flatMap(input.flags.consumers === true ? linesOf : lineOf), COLUMNS);
      },
      arm: async (owner) => {
        const body = {
          owner: required(owner, 'the limit\'s owner, as in "tier gold",'),
          limit: required(text(input, "limit"), "--limit NAME"),
        };
        show(input, await ask(input, "POST", "/admin/shadow/arm", body));
      },
    }),
};

const COLUMNS = ["owner", "limit", "max", "window", "source", "consumer", "requests24h", "refused24h", "requests7d", "refused7d"];

const spansOf = ({ day, week }: { readonly day: Looked; readonly week: Looked }) => ({
  ...{ requests24h: day.requests, refused24h: day.refused },
  ...{ requests7d: week.requests, refused7d: week.refused },
});

const lineOf = (item: InShadow): Record<string, unknown>[] => [{ ...item, consumer: "(all)", ...spansOf(item) }];

const linesOf = (item: InShadow): Record<string, unknown>[] => [
  ...lineOf(item),
  ...item.consumers.map(({ consumer, others, ...spans }) => ({
    ...{ owner: item.owner, limit: item.limit, consumer: consumer ?? (others ? "(others)" : "(no key)") },
    ...spansOf(spans),
  })),
];
