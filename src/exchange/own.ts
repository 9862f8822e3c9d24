import { HAND_OUT_PATH } from "../http/path.ts";
import { type Problem, problem } from "../http/problem.ts";
import { pageOf } from "../pages/landing.ts";
import type { Snapshot } from "./snapshot.ts";

/** What of Sluice itself answers on the main port, before any route is looked for. */
export type Own = "health" | "ready" | "metrics" | "page" | "admin" | "handOut";

export interface OwnDeps {
  readonly snapshot: () => Pick<Snapshot, "pages">;
  /** `null` while there are no pools. */
  readonly handOut: () => object | null;
}

export const ADMIN_METHODS: readonly string[] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/** TRACE would return what only the backend should see (RFC 9110 §9.3.8), CONNECT would make a tunnel of a route. */
const NEVER_TAKEN = problem("methodNotAllowed", "TRACE and CONNECT are not taken here.", {}, [["Allow", ADMIN_METHODS.join(", ")]]);
export const ONLY_READ = problem("methodNotAllowed", "This takes GET.", {}, [["Allow", "GET, HEAD, OPTIONS"]]);
export const ADMIN_ONLY = problem("methodNotAllowed", `The admin API takes ${ADMIN_METHODS.join(", ")}.`, {}, [
  ["Allow", ADMIN_METHODS.join(", ")],
]);
export const ONLY_POST = problem("methodNotAllowed", "This takes POST.", {}, [["Allow", "POST"]]);

/** Why a request with this method is refused wherever it goes; `null` for all others. */
export const neverTaken = (method: string): Problem | null => (method === "TRACE" || method === "CONNECT" ? NEVER_TAKEN : null);

/** Probes ask in their own ways; what would change something has no business at `/health` and its like. */
export const isReading = (method: string): boolean => method === "GET" || method === "HEAD" || method === "OPTIONS";

export const isAdminPath = (path: string): boolean =>
  path.startsWith("/admin/") || path === "/admin" || path.startsWith("/swagger/") || path === "/swagger";

/** What of Sluice itself a path on the main port means; `null`: a route's, if any. `isAdminElsewhere`: the admin API has a listener of its own. */
export function ownAt(path: string, method: string, isAdminElsewhere: boolean, { snapshot, handOut }: OwnDeps): Own | null {
  switch (path) {
    case "/health":
    case "/_health":
      return "health";
    case "/ready":
      return "ready";
    case "/metrics":
    case "/_metrics":
      if (!isAdminElsewhere) return "metrics";
  }
  if (!isAdminElsewhere) {
    const page = pageOf(path);
    if (page !== null && isReading(method) && snapshot().pages.has(page)) return "page";
    if (isAdminPath(path)) return "admin";
  }
  return path === HAND_OUT_PATH && handOut() !== null ? "handOut" : null;
}

/** Why one of Sluice's own does not take this method; `null` when it does. */
export function ownMethodRefusal(own: Own, method: string): Problem | null {
  if (own === "admin") return ADMIN_METHODS.includes(method) ? null : ADMIN_ONLY;
  if (own === "handOut") return method === "POST" ? null : ONLY_POST;
  return isReading(method) ? null : ONLY_READ;
}
