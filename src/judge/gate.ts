import type { Gate } from "../exchange/line.ts";
import { NO_ROUTE } from "../exchange/place.ts";

/**
 * Makes the gate that lets only proxies ask whose connection comes from `authz.allowFrom`. For others the path is not there. `says`: the
 * finding that `explain` is told.
 */
export const onlyAskers =
  (says: string): Gate =>
  ({ incoming, snapshot, asker }) => {
    const isAllowed = snapshot.judge?.allowFrom.has(incoming.ip) === true;
    asker?.tell("route", isAllowed ? says : `${says}, but not from ${incoming.ip}: authz.allowFrom does not name it`, isAllowed);
    return isAllowed ? null : NO_ROUTE;
  };
