/** Holds what was counted of some requests. */
export interface Sums {
  readonly requests: number;
  /** 4xx other than 429. */
  readonly clientErrors: number;
  /** 5xx, and callers who left before there was an answer. */
  readonly errors: number;
  /** 429. */
  readonly limited: number;
  /** Requests by bucket of latency; empty where it is not counted. */
  readonly latency: readonly number[];
}

/** Holds what was counted since a start of the gateway, at one moment. */
export interface Traffic {
  /** By route. */
  readonly routes: ReadonlyMap<string, Sums>;
  /** Refusals by the code of the answer. */
  readonly refusals: ReadonlyMap<string, number>;
}

export const NOTHING: Sums = { requests: 0, clientErrors: 0, errors: 0, limited: 0, latency: [] };
export const NO_TRAFFIC: Traffic = { routes: new Map(), refusals: new Map() };

/** Gives sums of requests of which nothing else is known. */
export const only = (requests: number): Sums => ({ ...NOTHING, requests });

/** Adds two sums, field by field. */
export const plus = (a: Sums, b: Sums): Sums => joined(a, b, (x, y) => x + y);

/** Adds many sums. */
export function sumOf(all: readonly Sums[]): Sums {
  const sum = { requests: 0, clientErrors: 0, errors: 0, limited: 0 };
  const latency: number[] = [];
  for (const each of all) {
    sum.requests += each.requests;
    sum.clientErrors += each.clientErrors;
    sum.errors += each.errors;
    sum.limited += each.limited;
    for (let i = 0; i < each.latency.length; i++) latency[i] = (latency[i] ?? 0) + (each.latency[i] ?? 0);
  }
  return { ...sum, latency };
}

/**
 * Gives what was counted between two moments. Counts only grow: one that is less, for whatever reason, tells nothing.
 */
export const since = (now: Sums, before: Sums): Sums => joined(now, before, (x, y) => Math.max(0, x - y));

/** Gives the larger count of each field. */
const larger = (a: Sums, b: Sums): Sums => joined(a, b, Math.max);

/** Tells whether nothing was counted. */
export const isNothing = ({ requests, latency }: Sums): boolean => requests === 0 && latency.every((count) => count === 0);

/** Gives the routes and codes for which something was counted between two moments, and how much. */
export function trafficSince(now: Traffic, before: Traffic): Traffic {
  const routes = new Map<string, Sums>();
  for (const [route, sums] of now.routes) {
    const more = since(sums, before.routes.get(route) ?? NOTHING);
    if (!isNothing(more)) routes.set(route, more);
  }
  const refusals = new Map<string, number>();
  for (const [code, count] of now.refusals) {
    const more = count - (before.refusals.get(code) ?? 0);
    if (more > 0) refusals.set(code, more);
  }
  return { routes, refusals };
}

/** Gives what was counted at most by either of two moments: what is told of already. */
export function highest(a: Traffic, b: Traffic): Traffic {
  const routes = new Map(a.routes);
  for (const [route, sums] of b.routes) routes.set(route, larger(routes.get(route) ?? NOTHING, sums));
  const refusals = new Map(a.refusals);
  for (const [code, count] of b.refusals) refusals.set(code, Math.max(refusals.get(code) ?? 0, count));
  return { routes, refusals };
}

/** Writes what was counted as text that `trafficFrom` reads. */
export const trafficText = ({ routes, refusals }: Traffic): string =>
  JSON.stringify({
    routes: [...routes].map(([route, { requests, clientErrors, errors, limited, latency }]) => [
      ...[route, requests, clientErrors, errors, limited],
      ...latency,
    ]),
    refusals: [...refusals],
  });

/** Reads what `trafficText` has written. */
export function trafficFrom(text: string): Traffic {
  const { routes, refusals } = JSON.parse(text) as {
    routes: [route: string, requests: number, clientErrors: number, errors: number, limited: number, ...latency: number[]][];
    refusals: [string, number][];
  };
  return {
    routes: new Map(
      routes.map(([route, requests, clientErrors, errors, limited, ...latency]) => [
        route,
        { requests, clientErrors, errors, limited, latency },
      ]),
    ),
    refusals: new Map(refusals),
  };
}

function joined(a: Sums, b: Sums, join: (x: number, y: number) => number): Sums {
  const longer = a.latency.length >= b.latency.length ? a.latency : b.latency;
  return {
    requests: join(a.requests, b.requests),
    clientErrors: join(a.clientErrors, b.clientErrors),
    errors: join(a.errors, b.errors),
    limited: join(a.limited, b.limited),
    latency: longer.map((_, i) => join(a.latency[i] ?? 0, b.latency[i] ?? 0)),
  };
}
