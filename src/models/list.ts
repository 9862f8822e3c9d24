import type { Caller } from "../exchange/caller.ts";
import type { Gate, Stop } from "../exchange/line.ts";
import type { Route } from "../exchange/route.ts";
import { prefixOf } from "../exchange/router.ts";
import { matchOf } from "../http/path.ts";
import { problem } from "../http/problem.ts";
import { jsonReply } from "../http/reply.ts";
import { mayCall } from "./bounds.ts";
import { decoded } from "./named-beside.ts";

/** When models were made: nobody knows, which clients read as long ago. */
const MADE = { created: 0, created_at: "1970-01-01T00:00:00Z" };

/**
 * Makes the gate that answers where clients ask which models there are: at `models` below the route's path, and at `v1/models` where that
 * does not end in /v1. It lists those that the caller may call, in a form that OpenAI's clients and Anthropic's read, and is charged to no
 * limit.
 */
export function modelListGate(route: Route): Gate {
  const prefix = matchOf(prefixOf(route.path));
  const lists = [`${prefix}/models`, ...(prefix.endsWith("/v1") ? [] : [`${prefix}/v1/models`])];
  return (exchange) => {
    const { method } = exchange.incoming.head;
    if (method !== "GET" && method !== "HEAD") return null;
    const { match } = exchange;
    const list = lists.find((each) => match === each || match.startsWith(`${each}/`));
    if (list === undefined) return null;
    exchange.asker?.tell("models", "Sluice itself lists the models that the caller may call", true);
    return answerTo(route, exchange.caller, match.slice(list.length + 1));
  };
}

/** Answers with one model, or with all for "". */
function answerTo(route: Route, caller: Caller, name: string): Stop {
  const names = listedTo(route, caller);
  if (name === "") return { kind: "reply", reply: jsonReply(200, listOf(names), NOT_KEPT) };
  const wanted = decoded(name);
  if (!names.includes(wanted)) return problem("notFound", "There is no model of this name that you may call.");
  return { kind: "reply", reply: jsonReply(200, modelOf(wanted), NOT_KEPT) };
}

const NOT_KEPT = "Cache-Control: no-store\r\n";

/** Gives the names that a route's caller may use: virtual ones, and those that it or the caller's bounds name in full. */
function listedTo({ models, virtualModels }: Route, caller: Caller): string[] {
  const bounds = [models, caller.models, caller.consumer.models];
  const named = bounds.flatMap((bound) => bound?.list.filter((name) => !name.includes("*")) ?? []);
  return [...new Set([...virtualModels.keys(), ...named])].filter((name) => models?.has(name) !== false && mayCall(caller, name));
}

const modelOf = (id: string) => ({ id, object: "model", type: "model", ...MADE, owned_by: "sluice", display_name: id });

const listOf = (names: readonly string[]) => ({
  object: "list",
  data: names.map(modelOf),
  has_more: false,
  first_id: names[0] ?? null,
  last_id: names.at(-1) ?? null,
});
