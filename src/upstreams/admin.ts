import { type Static, Type } from "@sinclair/typebox";
import { Elysia } from "elysia";
import type { Audit } from "../audit/audit.ts";
import { Since, timeText } from "../http/conventions.ts";
import { notFound } from "../http/refused.ts";
import type { Clock } from "../values/clock.ts";
import type { CountsInAll } from "./in-all.ts";
import type { Upstreams } from "./registry.ts";
import type { Target, Upstream } from "./upstream.ts";

const Breaker = Type.Object({
  target: Type.String({ description: "The target's URL.", examples: ["http://users-1:8001"] }),
  upstream: Type.String({ description: "The upstream it belongs to.", examples: ["users"] }),
  state: Type.Union([Type.Literal("closed"), Type.Literal("open"), Type.Literal("half-open")], {
    description: "closed: requests pass. open: none does. half-open: one at a time, as a probe.",
  }),
  held: Type.Boolean({
    description: "Opened by the admin API: it stays open until it is closed by it, or all of the gateway is started anew.",
  }),
  healthy: Type.Boolean({ description: "What health checks say; true without any." }),
  failures: Type.Integer({ description: "Failures in a row." }),
  successes: Type.Integer({ description: "Successful probes in a row, while half-open." }),
  failedProbes: Type.Integer({
    description: "Probes that failed since it was closed last; without a fixed recoveryTimeout each doubles the time until the next.",
  }),
  vouchedFor: Type.Boolean({ description: "A health check found the target well since it opened: one good probe closes it." }),
  changes: Type.Integer({ description: "Changes of state since the start." }),
  inFlight: Type.Integer({ description: "Requests under way." }),
  since: Since("Since when it is in this state."),
  retryAfter: Type.Union([Type.Integer(), Type.Null()], {
    description: "Seconds until a probe is let through: within a second where no target is left; null while none is waited for.",
  }),
});

const ByTarget = Type.Object({
  target: Type.String({ description: "The target's URL, encoded as one path segment; a breaker of each upstream that has it." }),
});

/** Gives the endpoints of circuit breakers, which show the state of each, and open and close them. */
export const breakersAdmin = (upstreams: Upstreams, clock: Clock, audit: Audit, inAll: CountsInAll) => {
  const all = (): [Upstream, Target][] =>
    upstreams.all().flatMap((upstream) => upstream.targets.map((target) => [upstream, target] as [Upstream, Target]));
  const toJson = ([upstream, target]: [Upstream, Target], countsOf: Awaited<ReturnType<CountsInAll>>): Static<typeof Breaker> => {
    const { breaker, isHealthy } = target.state;
    const counts = countsOf(upstream.name, target);
    const waits = counts.state === "open" && !breaker.isHeld;
    return {
      target: target.url,
      upstream: upstream.name,
      state: counts.state,
      held: breaker.isHeld,
      healthy: isHealthy,
      failures: counts.failures,
      successes: counts.successes,
      failedProbes: counts.failedProbes,
      vouchedFor: counts.isVouchedFor,
      changes: breaker.epoch - 1,
      inFlight: counts.inFlight,
      since: timeText(clock.wall() - (clock.now() - breaker.since)) ?? "",
      retryAfter: waits ? Math.ceil(upstream.probeIn(target, clock.now()) / 1000) : null,
    };
  };
  const listed = async (targets: readonly [Upstream, Target][]): Promise<{ items: Static<typeof Breaker>[] }> => {
    const countsOf = await inAll();
    return { items: targets.map((each) => toJson(each, countsOf)) };
  };
  const set = (url: string, state: "open" | "closed"): Promise<{ items: Static<typeof Breaker>[] }> => {
    const trimmed = url.replace(/\/$/, "");
    const found = all().filter(([, target]) => target.url.replace(/\/$/, "") === trimmed);
    if (found.length === 0) throw notFound("target", url);
    for (const [upstream, target] of found) {
      const before = { state: target.state.breaker.state };
      audit.note({ action: `breaker.${state === "open" ? "open" : "close"}`, subject: `target ${target.url}`, before, after: { state } });
      upstream.setBreaker(target, state);
    }
    return listed(found);
  };
  const List = Type.Object({ items: Type.Array(Breaker, { description: "One for each target of each upstream." }) });
  return new Elysia({ prefix: "/breakers", tags: ["breakers"], normalize: false })
    .get("/", () => listed(all()), { response: List, detail: { summary: "List circuit breakers" } })
    .post("/:target/open", ({ params }) => set(params.target, "open"), {
      params: ByTarget,
      response: List,
      detail: { summary: "Open a circuit breaker", description: "The target gets no request until its breaker is closed by hand." },
    })
    .post("/:target/close", ({ params }) => set(params.target, "closed"), {
      params: ByTarget,
      response: List,
      detail: { summary: "Close a circuit breaker" },
    });
};
