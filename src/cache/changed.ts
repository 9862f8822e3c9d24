import type { Arrival, Exchange } from "../exchange/exchange.ts";
import type { UpstreamResponse } from "../http/client.ts";
import { below } from "../http/path.ts";

/** Holds a path and query of the caller's own host. */
export interface Changed {
  readonly path: string;
  readonly query: string;
}

/** Gives what an unsafe request has changed (RFC 9111 §4.4): its URI, and those of its host that the response names. */
export function changedBy({ path, query, route, incoming }: Exchange<Arrival>, response: UpstreamResponse): Changed[] {
  if (response.status >= 400) return [];
  const { host } = incoming.head;
  const changed: Changed[] = [{ path, query }];
  for (const name of ["location", "content-location"]) {
    const value = response.fields.get(name);
    const url = value === null ? null : URL.parse(value, `http://${host}${path}`);
    if (url === null || url.host !== URL.parse(`http://${host}`)?.host) continue;
    changed.push({ path: url.pathname, query: url.search });
    // A backend behind a prefix names its own paths.
    const { addPrefix } = route;
    const isBelow = addPrefix === "" || url.pathname === addPrefix || url.pathname.startsWith(`${addPrefix}/`);
    if (isBelow && (route.strip > 0 || addPrefix !== "")) {
      const dropped = route.strip > 0 ? path.slice(0, path.length - below(path, route.depth).length) : "";
      changed.push({ path: dropped + url.pathname.slice(addPrefix.length), query: url.search });
    }
  }
  return changed;
}
