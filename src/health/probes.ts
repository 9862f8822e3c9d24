import type { Answer } from "../exchange/answer.ts";
import type { Answerer } from "../exchange/line.ts";
import { isLocal } from "../http/local.ts";
import type { Problem } from "../http/problem.ts";
import { jsonReply } from "../http/reply.ts";
import { VERSION } from "../version.ts";
import type { Warnings } from "./warnings.ts";

const NOT_KEPT = "Cache-Control: no-store\r\n";

/** Makes the answerer of `/health`, which says that the gateway is alive, and for how long it has been. */
export function aliveAnswerer(): Answerer {
  const startedAt = performance.now();
  return () => {
    const uptime = Math.round(performance.now() - startedAt) / 1000;
    return { kind: "reply", reply: jsonReply(200, { status: "healthy", version: VERSION, uptime }, NOT_KEPT) };
  };
}

export interface ReadinessDeps {
  /** Gives the state of each component: ok, degraded, away or failing. */
  readonly components: () => Readonly<Record<string, string>>;
  /** Gives the upstreams without which the gateway is not ready, and whether they are there. */
  readonly required: () => Readonly<Record<string, string>>;
  readonly warnings: Warnings;
  /** Tells whether the gateway takes no new connections. */
  readonly isDraining: () => boolean;
  /** Tells when the configuration in force was read (milliseconds since 1970), and what is wrong with its file as it is now. */
  readonly configuration: () => { readonly loadedAt: number; readonly faults: readonly object[] };
  /** Tells why an Authorization field shows no admin token; `null` when it does. Wrong ones count in the guard. */
  readonly tokenRefusal: (authorization: string | null, ip: string) => Problem | null;
}

/** The states that keep no request from being served. */
const FINE: readonly string[] = ["ok", "away", "degraded"];

/** What a component's name begins with that is a sink of activities, before the sink's own name. */
export const SINK = "sink ";

/** Gives the states with those of all sinks as one, without their names. */
function withoutNames(states: Readonly<Record<string, string>>): Record<string, string> {
  const shown: Record<string, string> = {};
  for (const [name, state] of Object.entries(states))
    if (!name.startsWith(SINK)) shown[name] = state;
    else if (shown.sinks === undefined || state !== "ok") shown.sinks = state;
  return shown;
}

/**
 * Makes the answerer of `/ready`, which tells whether requests should come here, and what an operator must know. Names and files are shown
 * only to programs on this machine and to whoever shows an admin token.
 */
export const readyAnswerer =
  ({ components, required, warnings, isDraining, configuration, tokenRefusal }: ReadinessDeps): Answerer =>
  ({ incoming, ip }): Answer => {
    const states = components();
    // Without Redis an instance goes on by itself, if that is what was asked for.
    const failing = Object.keys(states).filter((name) => !FINE.includes(states[name] ?? ""));
    if (isDraining()) failing.push("draining");
    const isReady = failing.length === 0;
    const { loadedAt, faults } = configuration();
    // Who guesses at tokens is told as little as everybody, and is counted.
    const authorization = incoming.head.fields.get("authorization");
    const isInsider = isLocal(incoming) || (authorization !== null && tokenRefusal(authorization, ip) === null);
    const body = {
      status: isReady ? "ready" : "unavailable",
      failing,
      components: isInsider ? states : withoutNames(states),
      ...(isInsider ? { upstreams: required() } : {}),
      // A faulty file is no reason to take a gateway out of service that serves the one before.
      configuration: {
        status: faults.length === 0 ? "ok" : "faulty",
        loadedAt: new Date(loadedAt).toISOString(),
        ...(isInsider ? { faults } : {}),
      },
      warnings: warnings.all().map(({ code, message, detail, since }) => ({
        code,
        message,
        since: new Date(since).toISOString(),
        ...(isInsider ? { detail } : {}),
      })),
    };
    return { kind: "reply", reply: jsonReply(isReady ? 200 : 503, body, isReady ? NOT_KEPT : `${NOT_KEPT}Retry-After: 1\r\n`) };
  };
