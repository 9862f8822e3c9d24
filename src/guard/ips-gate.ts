import type { Gate } from "../exchange/line.ts";
import { hiddenCaller } from "../http/client-ip.ts";
import { problem } from "../http/problem.ts";
import type { Guard } from "./guard.ts";
import type { RouteIps } from "./ips.ts";

/** The refusal of a caller from an address that a route does not take. */
export const NOT_FROM_THERE = problem("forbidden", "This route may not be used from your address.");

/**
 * Refuses addresses that a route does not take, before anybody looks at what they show: it counts towards no block and no limit. It is in
 * the lines of routes with `ips` alone.
 */
export const ipsGate =
  (ips: RouteIps, guard: Pick<Guard, "sawProxy">): Gate =>
  ({ ip, incoming, snapshot, asker }) => {
    const list = ips.keptOutBy(ip);
    asker?.tell("ips", TOLD[list ?? "neither"](ip), list === null);
    if (list === null) return null;
    // Behind a proxy that nobody named, all callers have its address: the operator is told why none comes in.
    if (asker === null && hiddenCaller(incoming.ip, incoming.head.fields, snapshot.trustedProxies) !== null) guard.sawProxy(ip);
    return NOT_FROM_THERE;
  };

const TOLD: Readonly<Record<"allow" | "deny" | "neither", (ip: string) => string>> = {
  allow: (ip) => `${ip} is not among the addresses that the route's ips.allow names`,
  deny: (ip) => `${ip} is among the addresses that the route's ips.deny names`,
  neither: (ip) => `the route takes requests from ${ip}`,
};
