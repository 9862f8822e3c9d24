import type { Gate } from "../exchange/line.ts";
import { hiddenCaller, UNKNOWN_ADDRESS } from "../http/client-ip.ts";
import { ipBlocked } from "../http/problem.ts";
import type { Guard } from "./guard.ts";

/**
 * Refuses addresses that an operator blocks, whatever they show. An address that the guard itself blocks goes on to identification, for
 * some keys pass that block (`Guard.lets`). An address that is not known is not looked at.
 */
export const guardGate =
  (guard: Guard): Gate =>
  (exchange) => {
    const { ip, incoming, snapshot, asker } = exchange;
    if (ip === UNKNOWN_ADDRESS) return null;
    const hidden = hiddenCaller(incoming.ip, incoming.head.fields, snapshot.trustedProxies);
    exchange.hiddenCaller = hidden;
    if (hidden !== null && asker === null) guard.sawProxy(ip);
    const blockedFor = guard.blockedFor(ip);
    if (blockedFor === 0) {
      asker?.tell("guard", `${ip} is not blocked`, true);
      return null;
    }
    exchange.blockedFor = blockedFor;
    if (!guard.refusesAll(ip)) return null;
    asker?.tell("guard", `${ip} is blocked`, false);
    return ipBlocked(blockedFor);
  };
