import type { Route } from "../exchange/route.ts";
import type { Upstream } from "../upstreams/upstream.ts";
import type { Weighted } from "./attempt-order.ts";
import type { OutcomeSet } from "./outcome.ts";

/** Describes one attempt of a virtual model as a request needs it. */
export interface ModelAttempt extends Weighted {
  /** Where it stands in the list of the model's attempts, from 1: others may have the same upstream and model. */
  readonly place: number;
  /** The upstream; `null`: it was deleted. */
  readonly upstream: Upstream | null;
  /** How the upstream is called in the configuration. */
  readonly upstreamName: string;
  /** What the upstream calls the model. */
  readonly model: string;
  /** The pool whose keys it is asked with; `null`: without a key. */
  readonly pool: string | null;
  /** The caller's route, with this attempt's upstream and credential in the place of its own. */
  readonly route: Route;
}

/** Describes a virtual model on one route. */
export interface VirtualModel {
  readonly name: string;
  readonly attempts: readonly ModelAttempt[];
  /** The outcomes after which another attempt is made. */
  readonly on: OutcomeSet;
  /** Milliseconds that an attempt may take until there is something to read. */
  readonly firstToken: number;
  /** Milliseconds that all attempts may take to that. */
  readonly giveUpAfter: number;
}

/** Gives the models that may answer on a route to the one that the caller names, as their upstreams call them. */
export const candidatesOn = ({ virtualModels }: Pick<Route, "virtualModels">, name: string): readonly string[] =>
  virtualModels.get(name)?.attempts.map(({ model }) => model) ?? [name];

/** Gives the pools whose keys requests on a route may be sent with. */
export function poolsOf({ credential, virtualModels }: Pick<Route, "credential" | "virtualModels">): readonly string[] {
  const attempts = [...virtualModels.values()].flatMap((model) => model.attempts);
  return [credential, ...attempts].flatMap((each) => (each?.pool == null ? [] : [each.pool]));
}
