import type { Answerer } from "../exchange/line.ts";
import { NO_ROUTE } from "../exchange/place.ts";
import type { Route } from "../exchange/route.ts";
import { prefixOf } from "../exchange/router.ts";
import { problem } from "../http/problem.ts";
import { date, reasonOf } from "../http/reply.ts";
import type { ProtectedResource } from "./resource.ts";

const METHODS = "GET, HEAD, OPTIONS";
const NOT_TAKEN = problem("methodNotAllowed", "This takes GET.", {}, [["Allow", METHODS]]);
/** Pages of other origins may read it: clients run in browsers as well, and it is no secret. */
const CORS = `Access-Control-Allow-Origin: *\r\nAccess-Control-Allow-Methods: ${METHODS}\r\nAccess-Control-Allow-Headers: *\r\n`;
/** Seconds for which an answer may be kept: what it says changes with the configuration. */
const KEPT = 60;

/** Gives the resources whose metadata is published, by its path. A route that is meant by that path comes first. */
export function publishedResources(routes: readonly Pick<Route, "path" | "mcp">[]): ReadonlyMap<string, readonly ProtectedResource[]> {
  const taken = new Set(routes.map(({ path }) => prefixOf(path)));
  const resources = routes.flatMap(({ mcp }) =>
    mcp === null || mcp.resource === null || taken.has(mcp.resource.path) ? [] : [mcp.resource],
  );
  return Map.groupBy(resources, ({ path }) => path);
}

/** Answers with the metadata of a protected resource (RFC 9728 §3.2), to anybody: of several at one path, with that of the host. */
export const metadataAnswerer: Answerer = ({ incoming, path, snapshot }) => {
  const { method, host } = incoming.head;
  const found = snapshot.resources.get(path) ?? [];
  const resource = found.find((each) => each.host === host.toLowerCase()) ?? found[0];
  if (resource === undefined) return { kind: "problem", problem: NO_ROUTE };
  if (method === "OPTIONS")
    return { kind: "reply", reply: { status: 204, reason: reasonOf(204), head: `${CORS}${date()}`, body: null, length: -1 } };
  if (method !== "GET" && method !== "HEAD") return { kind: "problem", problem: NOT_TAKEN };
  const head = `Content-Type: application/json\r\nCache-Control: max-age=${KEPT}\r\n${CORS}${date()}`;
  return { kind: "reply", reply: { status: 200, reason: reasonOf(200), head, body: resource.metadata, length: -1 } };
};
