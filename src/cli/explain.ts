import type { ExplainAnswer } from "../explain/admin.ts";
import { print } from "../telemetry/stdout.ts";
import { dollarsOf, NANO } from "../values/money.ts";
import { type Command, UsageError } from "./arguments.ts";
import { ask, NO_SLUICE, PATIENCE, queryOf, REMOTE_FLAGS, RemoteFault, remotely, text } from "./remote.ts";

const ASKED = ["consumer", "key", "route", "ip", "model", "tool", "header"] as const;

export const explain: Command = {
  name: "explain",
  usage: "explain [--consumer ID] [--key ID] [--bearer TOKEN] [--route NAME] [--ip ADDRESS] [--model NAME] [--tool NAME] [--header FIELD]",
  summary: "Tells which limits hold for a caller and why, what is left of them, and why the last requests were refused.",
  flags: [
    ...REMOTE_FLAGS,
    { name: "consumer", value: "ID", help: "the caller; left out: one without a key" },
    { name: "key", value: "ID", help: "the caller's key, where keys have limits of their own" },
    { name: "bearer", value: "TOKEN", help: "a token of an issuer: says whether it is good, and which check it fails" },
    { name: "route", value: "NAME", help: "the route that is called, by its name, or a path or URL that it takes" },
    { name: "ip", value: "ADDRESS", help: "the caller's address" },
    { name: "model", value: "NAME", help: "the model that the request names, for limits by model" },
    { name: "tool", value: "NAME", help: "the tool that the request calls by MCP, for limits by tool" },
    { name: "header", value: "FIELD", help: 'a field of the request, for limits by header, as in "X-Tenant: acme"' },
  ],
  positionals: 0,
  run: (input) =>
    remotely(async () => {
      const query = queryOf(input, ASKED);
      const shown = text(input, "bearer");
      if (shown !== undefined) query.set("token", shown);
      if (!["consumer", "key", "token", "route", "ip"].some((each) => query.has(each)))
        throw new UsageError("name a consumer, a key, a token, a route or an ip, or several of them");
      const found = await ask<ExplainAnswer>(input, "GET", `/admin/explain?${query}`, undefined, PATIENCE);
      if (!Array.isArray(found?.limits) || !Array.isArray(found.denials)) throw new RemoteFault(NO_SLUICE);
      print(input.flags.json === true ? `${JSON.stringify(found)}\n` : described(found));
    }),
};

/** Tells people who is asked about, what would happen, each limit, and what has happened. */
export function described(found: ExplainAnswer): string {
  const {
    consumer,
    tier,
    key,
    token,
    route,
    ip,
    system,
    allowed,
    refusal,
    limits,
    passedOver,
    keysWithOwnLimits,
    denials,
    unknown,
    redisAway,
  } = found;
  const who = [
    consumer === null ? "a caller without a key" : `consumer ${consumer}`,
    ...(key === null ? [] : [`key ${key}`]),
    ...(tier === null ? [] : [`tier ${tier}`]),
    ...(route === null ? [] : [`on route ${route}`]),
    ...(ip === null ? [] : [`from ${ip}`]),
  ].join(", ");
  const lines = [`${who}; the system is ${system}`];
  if (token?.passed === true) lines.push(`the token of ${token.issuer} is good`);
  else if (token !== null) lines.push(`the token is refused: ${token.why}`);
  if (refusal !== null) lines.push(`the next request is refused: ${refusal.code}: ${refusal.detail}`);
  else if (allowed === null)
    lines.push("whether the next request comes through can't be said without", ...unknown.map((each) => `  ${each}`));
  else lines.push(allowed ? "the next request comes through" : "the next request is refused: too little is left of a limit");
  if (redisAway !== null) lines.push(`Redis is away (onFailure: ${redisAway}): what is left is what this instance has counted`);
  lines.push("", limits.length === 0 ? "no limit holds" : "limits");
  for (const limit of limits) {
    const left =
      limit.subjectUnknown !== null
        ? limit.subjectUnknown
        : `${amount(limit.remaining, limit)} of ${amount(limit.limit, limit)} left${takes(limit)}${limit.reset === null ? "" : `, more at ${limit.reset}`}`;
    lines.push(
      `  ${limit.name} (${limit.scope})${limit.shadow ? ", in shadow" : ""}: ${left}${limit.denies === true ? "  << denies" : ""}`,
    );
    lines.push(`    ${limit.why}`);
  }
  for (const { scope, names, why } of passedOver) lines.push(`  passed over: ${names.join(", ")} (${scope}), since ${why}`);
  if (keysWithOwnLimits.length > 0) lines.push(`  keys with limits of their own: ${keysWithOwnLimits.join(", ")}`);
  lines.push("", denials.length === 0 ? "no refusal is remembered" : "last refusals");
  for (const { at, requestId, route: on, code, detail, limits: violated } of denials) {
    lines.push(`  ${at} ${code}${on === null ? "" : ` on ${on}`}  ${requestId}`);
    for (const each of violated)
      lines.push(`    ${each.name} (${each.scope}): ${amount(each.used, each)} of ${amount(each.limit, each)} used`);
    if (violated.length === 0) lines.push(`    ${detail}`);
  }
  return `${lines.join("\n")}\n`;
}

type Unit = { readonly unit: ExplainAnswer["limits"][number]["unit"] };

/** Writes a number of a limit: money as dollars, as people write small amounts. */
const amount = (number: number | null, { unit }: Unit): string =>
  number === null ? "?" : unit === "usd" ? `$${dollarsOf(number * NANO)}` : String(number);

/** Says what a request takes of a limit, where that isn't what most limits take. */
const takes = ({ cost, unit }: ExplainAnswer["limits"][number]): string =>
  unit === "usd" ? ", what a request takes depends on its model and its length" : cost === 1 ? "" : `, a request takes ${cost}`;
