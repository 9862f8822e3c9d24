import type { Caller } from "../exchange/caller.ts";
import type { Arrival, Exchange } from "../exchange/exchange.ts";
import type { Gate } from "../exchange/line.ts";
import { isModelRoute, type Route } from "../exchange/route.ts";
import { type Problem, passing, problem } from "../http/problem.ts";
import { hasMoney } from "../limits/money.ts";
import type { Policy } from "../limits/policy.ts";
import { countsByModel } from "../limits/subject.ts";
import type { PriceBook } from "../prices/book.ts";
import type { Prices } from "../prices/prices.ts";
import { ModelSpending } from "../prices/spending.ts";
import { type ModelApi, type Prompt, unread } from "../tokens/prompt.ts";
import { promptOf } from "../tokens/reading.ts";
import { MAX_CALLED_NAME } from "../values/called-name.ts";
import type { Clock } from "../values/clock.ts";
import { isJsonType } from "../values/json.ts";
import { dollarsOf } from "../values/money.ts";
import { isBound, modelRefusal, nameRefusal } from "./bounds.ts";
import { isBatch, namesInPath } from "./named-beside.ts";
import { candidatesOn, poolsOf } from "./virtual-model.ts";

export interface ModelGatesDeps {
  /** The prices in force; `current`: `null` where nothing has one. */
  readonly prices: Pick<PriceBook, "current" | "none">;
  /** Gives the limits of a caller: its keys', its consumer's, its tier's. */
  readonly policiesFor: (caller: Caller) => readonly Policy[];
  /** Tells whether a key of the pool of this name has a budget in money. */
  readonly poolCountsMoney: (pool: string) => boolean;
  readonly clock: Clock;
  /** Learns of a call of a model without a price. `isNews`: nobody was told of that model for a while; `isFree`: it counts as free. */
  readonly onUnpriced: (route: string, model: string, isNews: boolean, isFree: boolean) => void;
}

/** Milliseconds after which a model without a price is news again, and the number of models of which that is remembered. */
const NEWS_AFTER = 3_600_000;
const MAX_TOLD = 256;

/** Makes the gates that find out which model a request calls, whether its caller may, and what that may cost. */
export class ModelGates {
  /** When models without a price were told of, by `clock.now()`. */
  private readonly told = new Map<string, number>();

  constructor(private readonly deps: ModelGatesDeps) {}

  /** Makes the gate of a route; `null`: its requests are no calls of models. */
  gateFor(route: Route): Gate | null {
    if (!isModelRoute(route)) return null;
    const { prices: book, policiesFor, poolCountsMoney } = this.deps;
    // A configuration comes into force together with its prices, and its routes are compiled anew.
    const { current, none } = book;
    const isAlwaysRead = current !== null || route.models !== null || countsByModel(route.policies);
    const isMoneyOfRoute = hasMoney(route.policies);
    const pools = poolsOf(route);
    return (exchange) => {
      // Limits in money hold also where nobody has configured a price. Pools change without the routes.
      const countsMoney = current === null && (isMoneyOfRoute || pools.some(poolCountsMoney) || hasMoney(policiesFor(exchange.caller)));
      const prices = countsMoney ? none : current;
      if (exchange.asker !== null) return this.asked(exchange, route, prices);
      return isAlwaysRead || prices !== null || isBound(exchange.caller) || countsByModel(policiesFor(exchange.caller))
        ? this.read(exchange, route, prices)
        : null;
    };
  }

  private read(exchange: Exchange<Arrival>, route: Route, prices: Prices | null): Problem | null | Promise<Problem | null> {
    const prompt = promptOf(exchange, route, true);
    return prompt instanceof Promise
      ? prompt.then((read) => this.decide(exchange, route, prices, read))
      : this.decide(exchange, route, prices, prompt);
  }

  private decide(exchange: Exchange<Arrival>, route: Route, prices: Prices | null, prompt: Prompt): Problem | null {
    if (prompt.isCrowdedOut) return CROWDED_OUT;
    const model = calledModel(exchange, route, prompt, prices);
    if (model !== null && model.length > MAX_CALLED_NAME) return TOO_LONG;
    exchange.model = model;
    const refusal = modelRefusal(exchange, route, prompt, prices !== null);
    if (refusal === null && prices !== null) this.price(exchange, route, prices, prompt);
    return refusal;
  }

  /** Tells of a request that is only asked about, by the model that the question names: it has no body. */
  private asked(exchange: Exchange<Arrival>, route: Route, prices: Prices | null): Problem | null {
    const { model, caller } = exchange;
    if (model === null) {
      exchange.asker?.tell("model", "no model is named", null);
      return null;
    }
    const refusal = nameRefusal(caller, route, model);
    if (refusal === null && prices !== null) this.price(exchange, route, prices, unread(null, 0, exchange.path));
    exchange.asker?.tell("model", refusal === null ? describe(exchange) : String(refusal.members.detail), refusal === null);
    return refusal;
  }

  /** Has the exchange know what it may cost, if it calls a model. */
  private price(exchange: Exchange<Arrival>, route: Route, prices: Prices, prompt: Prompt): void {
    if (COUNTS_ONLY.test(exchange.path)) return;
    // What the requests of a batch cost, or how many there are, is not known before it is done.
    const isOfMany = prompt.length !== 0 && isBatch(exchange);
    const model = isOfMany ? null : exchange.model;
    if (model === null && !isOfMany && !isUnnamedCall(exchange, prompt)) return;
    const spending = new ModelSpending(prompt, model ?? "", model === null ? [""] : candidatesOn(route, model), prices);
    exchange.spending = spending;
    if (spending.isUnpriced && exchange.asker === null) this.tellUnpriced(route.name, spending);
  }

  private tellUnpriced(route: string, { model, reserve }: ModelSpending): void {
    const now = this.deps.clock.now();
    const isNews = now - (this.told.get(model) ?? Number.NEGATIVE_INFINITY) >= NEWS_AFTER;
    if (isNews) {
      // Callers make names up: those that were told of longest ago make room.
      if (this.told.size >= MAX_TOLD)
        for (const [oldest] of this.told) {
          this.told.delete(oldest);
          break;
        }
      this.told.delete(model);
      this.told.set(model, now);
    }
    this.deps.onUnpriced(route, model, isNews, reserve !== null);
  }
}

/** It matters which model is called, and the body that says so could not be read. */
const CROWDED_OUT = passing("limiterUnavailable", "Too many large requests are being read at the moment; try again in a second.", 1);

/** Names are remembered, counted by and logged, so that each must be short. */
const TOO_LONG = problem("badRequest", `The name of the model is longer than ${MAX_CALLED_NAME} characters.`);

/** The ends of paths below which a model is named and not called: they count tokens, or look at a text, for nothing. */
const COUNTS_ONLY = /(?:\/(?:messages\/count_tokens|responses\/input_tokens|tokenize|moderations)|:countTokens)$/;

/**
 * Gives the model that a request calls: the one in its path, which decides where there is one, if the body names none or the path's has a
 * price (what Azure calls its deployments often has none); else the body's.
 */
function calledModel(exchange: Exchange<Arrival>, route: Route, { model, length }: Prompt, prices: Prices | null): string | null {
  const { method } = exchange.incoming.head;
  const named = method === "POST" && length !== 0 ? namesInPath(exchange, route).at(-1) : undefined;
  return named !== undefined && (model === null || (prices?.of(named) ?? null) !== null) ? named : model;
}

/** The interfaces whose requests call a model, whatever their bodies look like. */
const CALLS: ReadonlySet<ModelApi> = new Set(["chat", "responses", "messages", "embeddings", "images", "audio"]);

/**
 * Tells whether a request that names no model, as far as can be read, calls one all the same: by its interface, since what it says can't be
 * read, or over a WebSocket. What it costs can't be said.
 */
function isUnnamedCall({ incoming: { head } }: Exchange<Arrival>, { length, api, isRead }: Prompt): boolean {
  if (head.upgrade === "websocket") return true;
  if (length === 0) return false;
  const { fields } = head;
  return CALLS.has(api) || (!isRead && (isJsonType(fields.mediaType) || fields.get("content-encoding") !== null));
}

/** Tells people which model is called, and what a request of it reserves. */
function describe({ model, spending }: Exchange<Arrival>): string {
  if (spending === null) return `${model}`;
  const { reserve } = spending;
  return reserve === null
    ? `${spending.model} has no price`
    : `${model}: a request that does not say how long its answer may be reserves $${dollarsOf(reserve)}`;
}
