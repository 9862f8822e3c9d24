import { matchOf, parseTarget } from "../http/path.ts";
import type { Route } from "./route.ts";
import { isMiss, type Router } from "./router.ts";

/** Finds the route that a person means: of this name, or that takes this path or URL, by whatever method; `null` when there is none. */
export function namedRoute(text: string, routes: readonly Route[], router: Router<Route>): Route | null {
  const named = routes.find(({ name }) => name === text);
  if (named !== undefined) return named;
  const isPath = text.startsWith("/");
  const url = URL.parse(isPath ? `http://-${text}` : text);
  if (url === null) return null;
  const target = parseTarget(url.pathname);
  if (typeof target === "string") return null;
  const match = matchOf(target.path);
  // A path alone may be that of any host.
  const hosts = isPath ? ["", ...routes.flatMap((route) => route.hosts)] : [url.host];
  for (const host of hosts) {
    const find = (method: string) => router.find(host.replace("*", "x"), method, match);
    const found = find("GET");
    if (!isMiss(found)) return found;
    const other = found.allow === null ? found : find(found.allow[0] ?? "GET");
    if (!isMiss(other)) return other;
  }
  return null;
}
