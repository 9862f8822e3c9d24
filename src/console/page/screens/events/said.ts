import type { GatewayEvent } from "../../events.ts";
import { millis } from "../../format.ts";
import type { Tone } from "../../parts/badge.tsx";

/** Gives a member of an event as text; what is none, or not there, as an empty one. */
export const text = (value: unknown): string => (typeof value === "string" || typeof value === "number" ? String(value) : "");

/** Says an event in words; of a request, as the log does. */
export function saidOf(event: GatewayEvent): string {
  if (event.type === "request") {
    const { method, path, latencyMs, code } = event;
    const took = typeof latencyMs === "number" ? ` · ${millis(latencyMs)}` : "";
    return `${text(method)} ${text(path)}${took}${text(code) === "" ? "" : ` · ${text(code)}`}`;
  }
  if (event.type === "limit") return limitsOf(event);
  return sentenceOf(event);
}

/** Says what happened to the gateway itself. */
function sentenceOf(event: GatewayEvent): string {
  const { type } = event;
  const why = text(event.why ?? event.cause ?? event.reason);
  const because = why === "" ? "" : `: ${why}`;
  switch (type) {
    case "breaker":
      return `${text(event.upstream)}, ${text(event.target)}: ${text(event.from)} to ${text(event.to)}${because}`;
    case "target":
      return `${text(event.upstream)}, ${text(event.target)} is ${event.healthy === true ? "up" : "down"}${because}`;
    case "health":
      return `The system is ${text(event.status ?? event.to)}${because}`;
    case "change":
      return `${text(event.actor)}: ${text(event.action)} ${text(event.subject)}`;
    case "pool":
      return `${text(event.pool)}, key ${text(event.key)}: ${text(event.change)}`;
    case "quota":
      return `${text(event.subject)} has used ${text(event.level)} % of ${text(event.quota)} (${text(event.scope)})`;
    case "redis":
      return `Redis is ${event.up === true ? "back" : "away"}${because}`;
    case "issuer":
      return `Issuer ${text(event.issuer)}: ${event.up === true ? "its keys are known" : "its keys can't be had"}${because}`;
    default:
      return JSON.stringify(event);
  }
}

/** Holds a limit in an event, as far as it is shown. */
interface Told {
  readonly name?: unknown;
  readonly scope?: unknown;
  readonly used?: unknown;
  readonly limit?: unknown;
  readonly shadow?: unknown;
}

function limitsOf({ limits }: GatewayEvent): string {
  // As the gateway writes them; what is not there is left out.
  const all = Array.isArray(limits) ? (limits as readonly Told[]) : [];
  const named = all.map(({ name, scope, used, limit, shadow }) => {
    const how = shadow === true ? "would have refused (in shadow)" : "refused";
    return `${text(scope)}: ${text(name)} ${how}, ${text(used)} of ${text(limit)} used`;
  });
  return named.join("; ");
}

/** Says who asked, where an event is about a caller. */
export const whoOf = ({ consumer, ip, actor }: GatewayEvent): string => text(consumer) || text(ip) || text(actor);

/** Gives the colour of an event; its words say the same. */
export function toneOf({ type, status, to, healthy, up, change }: GatewayEvent): Tone {
  if (type === "request") return typeof status !== "number" || status < 400 ? "good" : status < 500 ? "warn" : "bad";
  if (to === "open" || healthy === false || up === false || change === "quarantined") return "bad";
  return type === "limit" ? "warn" : type === "change" ? "accent" : "plain";
}
