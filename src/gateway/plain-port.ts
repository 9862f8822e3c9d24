import { isChallenge, type PlainPort } from "../edge/plain-port.ts";
import type { Answer } from "../exchange/answer.ts";
import type { Arrival, Exchange } from "../exchange/exchange.ts";
import { answerOf, type Gate, type Line } from "../exchange/line.ts";
import type { OwnName } from "../exchange/own-paths.ts";
import { NO_ROUTE } from "../exchange/place.ts";
import type { Route } from "../exchange/route.ts";
import type { Router } from "../exchange/router.ts";
import type { Snapshot } from "../exchange/snapshot.ts";
import type { Incoming } from "../http/incoming.ts";
import { isLocal } from "../http/local.ts";
import { date } from "../http/reply.ts";

/** What the plain port beside the one for https answers everybody, and what programs on this machine alone. */
const FOR_ALL: ReadonlySet<OwnName> = new Set(["health", "ready"]);
const FOR_LOCALS: ReadonlySet<OwnName> = new Set(["metrics", "admin", "console"]);

/** Makes the line by which the plain port sends callers to the one for https. */
export const redirectLine = (port: PlainPort, ended: Line["ended"]): Line => ({
  gates: [],
  answer: (exchange) => redirected(port, exchange),
  ended,
});

/** Gives the line of an own path on the plain port; `null`: it is not there. `line`: the one that it has elsewhere. */
export function plainLineOf(name: OwnName, line: Line, port: PlainPort): Line | null {
  if (FOR_ALL.has(name)) return line;
  if (!FOR_LOCALS.has(name)) return null;
  const onlyLocals: Gate = (exchange) => (isLocal(exchange.incoming) ? null : redirected(port, exchange));
  return { ...line, gates: [onlyLocals, ...line.gates] };
}

/** Gives the router of a request that has come to the plain port. */
export const plainRouterOf = ({ plainRouter, router }: Snapshot, { head }: Pick<Incoming, "head">): Router<Route> =>
  plainRouter === null || isChallenge(head.target) ? router : plainRouter;

function redirected(port: PlainPort, { incoming: { head } }: Exchange<Arrival>): Answer {
  const location = port.locationOf(head.host, head.target);
  if (location === null) return answerOf(NO_ROUTE);
  // By this status the method and the body stay (RFC 9110 §15.4.9).
  return {
    kind: "reply",
    reply: { status: 308, reason: "Permanent Redirect", head: `Location: ${location}\r\n${date()}`, body: "", length: -1 },
  };
}
