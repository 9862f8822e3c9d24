import type { Arrival, Exchange } from "../exchange/exchange.ts";
import type { Gate } from "../exchange/line.ts";
import type { Route } from "../exchange/route.ts";
import { type Problem, problem } from "../http/problem.ts";
import { type ModelApi, type Prompt, unread } from "../tokens/prompt.ts";
import { promptOf } from "../tokens/reading.ts";
import type { Clock } from "../values/clock.ts";
import { isJsonType } from "../values/json.ts";
import { dollarsOf } from "../values/money.ts";
import type { Prices } from "./prices.ts";
import { ModelSpending } from "./spending.ts";

export interface ModelGatesDeps {
  /** Gives the prices in force; `null`: nothing has one. */
  readonly prices: () => Prices | null;
  /** Gives the models that may answer for a virtual one; `null`: there is no virtual model of this name. */
  readonly attemptsOf: (model: string) => readonly string[] | null;
  /** Tells whether limits count an exchange by the model that it names. */
  readonly countsByModel: (exchange: Exchange<Arrival>, route: Route) => boolean;
  readonly clock: Clock;
  /** Learns of a call of a model without a price. `isNews`: nobody was told of that model for a while; `isFree`: it counts as free. */
  readonly onUnpriced: (route: string, model: string, isNews: boolean, isFree: boolean) => void;
}

/** Milliseconds after which a model without a price is news again, and the number of models of which that is remembered. */
const NEWS_AFTER = 3_600_000;
const MAX_TOLD = 256;

/** Tells whether a route's requests are calls of models. */
export const isModelRoute = ({ credential, usage, models }: Pick<Route, "credential" | "usage" | "models">): boolean =>
  credential !== null || usage !== null || models !== null;

/** Makes the gates that find out which model a request calls, whether its caller may, and what that costs. */
export class ModelGates {
  /** When models without a price were told of, by `clock.now()`. */
  private readonly told = new Map<string, number>();

  constructor(private readonly deps: ModelGatesDeps) {}

  /** Makes the gate of a route; `null`: its requests are no calls of models. */
  gateFor(route: Route): Gate | null {
    if (!isModelRoute(route)) return null;
    // A configuration comes into force together with its prices, and its routes are compiled anew.
    const prices = this.deps.prices();
    const isNeeded = prices !== null || route.models !== null;
    return (exchange) => {
      if (exchange.asker !== null) return this.asked(exchange, route, prices);
      if (
        !isNeeded &&
        exchange.caller.models === null &&
        exchange.caller.consumer.models === null &&
        !this.deps.countsByModel(exchange, route)
      )
        return null;
      return this.read(exchange, route, prices);
    };
  }

  private async read(exchange: Exchange<Arrival>, route: Route, prices: Prices | null): Promise<Problem | null> {
    const prompt = await promptOf(exchange, route, true);
    return this.decide(exchange, route, prices, prompt, prompt.model);
  }

  /** Tells of a request that is only asked about, by the model that the question names: it has no body. */
  private asked(exchange: Exchange<Arrival>, route: Route, prices: Prices | null): Problem | null {
    const { model } = exchange;
    if (model === null) {
      exchange.asker?.tell("model", "no model is named", null);
      return null;
    }
    const refusal = this.decide(exchange, route, prices, unread(null, 0, exchange.path), model);
    exchange.asker?.tell("model", refusal === null ? describe(exchange) : `${model}: ${String(refusal.members.detail)}`, refusal === null);
    return refusal;
  }

  private decide(exchange: Exchange<Arrival>, route: Route, prices: Prices | null, prompt: Prompt, model: string | null): Problem | null {
    exchange.model = model;
    const isCall = model !== null || isUnnamedCall(exchange, prompt);
    const refusal = this.refusalOf(exchange, route, isCall);
    if (refusal !== null || prices === null || !isCall) return refusal;
    const candidates = model === null ? [""] : ((route.models === null ? null : this.deps.attemptsOf(model)) ?? [model]);
    exchange.spending = new ModelSpending(prompt, model ?? "", candidates, prices);
    if (exchange.spending.isUnpriced && exchange.asker === null) this.tellUnpriced(route.name, exchange.spending);
    return null;
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

  /** Gives why the caller may not call this model here; `null`: it may. */
  private refusalOf({ caller, model }: Exchange<Arrival>, { models }: Route, isCall: boolean): Problem | null {
    const bounds = [models, caller.models, caller.consumer.models];
    if (bounds.every((bound) => bound === null)) return null;
    if (model === null)
      return isCall
        ? problem("modelUnknown", 'This route takes calls of named models alone: send JSON, not encoded, that names one in "model".')
        : null;
    return bounds.every((bound) => bound === null || bound.has(model))
      ? null
      : problem("modelUnknown", `You may not call the model ${JSON.stringify(model)} here: name one that you may call.`);
  }
}

/** The interfaces whose requests call a model, whatever their bodies look like. */
const CALLS: ReadonlySet<ModelApi> = new Set(["chat", "responses", "messages", "embeddings", "images", "audio"]);

/**
 * Tells whether a request that names no model, as far as can be read, calls one all the same: by its interface, or since what it says can't
 * be read. What it costs can't be said.
 */
function isUnnamedCall({ incoming: { head } }: Exchange<Arrival>, { length, api, isRead }: Prompt): boolean {
  if (length === 0) return false;
  const { fields } = head;
  return CALLS.has(api) || (!isRead && (isJsonType(fields.mediaType) || fields.get("content-encoding") !== null));
}

function describe({ model, spending }: Exchange<Arrival>): string {
  if (spending === null) return `${model}`;
  const { reserve } = spending;
  return `${model}: ${reserve === null ? `${spending.model} has no price` : `a request without a bound reserves ${dollarsOf(reserve)} dollars`}`;
}
