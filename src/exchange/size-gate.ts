import { bodyTooLarge } from "../http/problem.ts";
import type { Gate } from "./line.ts";
import type { Route } from "./route.ts";

/** Refuses bodies whose stated length is larger than the route takes, and bounds the others. */
export const sizeGate =
  ({ maxBodySize, bodyRate }: Pick<Route, "maxBodySize" | "bodyRate">): Gate =>
  ({ incoming, snapshot }) => {
    const max = maxBodySize ?? snapshot.maxBodySize;
    if (incoming.head.contentLength > max) return bodyTooLarge(max);
    if (maxBodySize !== null || bodyRate !== null) incoming.body?.bound(max, bodyRate);
    return null;
  };
