import type { Arrival, Exchange } from "../exchange/exchange.ts";
import type { Route } from "../exchange/route.ts";
import { below } from "../http/path.ts";

/** The segments of paths behind which some providers have the name of a model: Azure's, Google's, Amazon's, and OpenAI's own of old. */
const NAMING: ReadonlySet<string> = new Set(["deployments", "models", "tunedmodels", "model", "engines"]);

/** What Azure serves at `/models` for the model that the body names. */
const NO_NAME = /^(?:chat\/completions|(?:images\/)?embeddings|info)$/i;

/** Interfaces that take many requests at once, in their body or in a file, and answer them later. */
const BATCH = /(?:\/batches\/*|:(?:batchGenerateContent|asyncBatchEmbedContent))$/i;

/** Tells whether a request brings others, which name their own models unless the path does. */
export const isBatch = ({ path, incoming: { head } }: Exchange<Arrival>): boolean => head.method === "POST" && BATCH.test(path);

/**
 * Gives the models that a request names beside its body, where providers read them: in its query, whatever the letter case, and in its path
 * below the route's.
 */
export function namesBeside(exchange: Exchange<Arrival>, route: Route): string[] {
  const { head } = exchange.incoming;
  const inQuery = [...new URLSearchParams(exchange.query.slice(1))].flatMap(([name, value]) =>
    ["model", "deployment"].includes(name.toLowerCase()) ? [value] : [],
  );
  // Who reads about a model does not call it.
  if (head.upgrade === "" && exchange.body === null && (head.method === "GET" || head.method === "HEAD")) return inQuery;
  return [...inQuery, ...namesInPath(exchange, route)];
}

/** Gives the models that a path names below the route's own, from left to right. */
export function namesInPath({ path }: Pick<Exchange, "path">, route: Pick<Route, "depth" | "path" | "strip" | "addPrefix">): string[] {
  const segments = below(path, route.depth)
    .split("/")
    .filter((segment) => segment !== "");
  // The first one may stand behind a segment that the route brings along.
  let before = (route.strip === 0 ? route.path : route.addPrefix).split("/").findLast((segment) => segment !== "") ?? "";
  const names: string[] = [];
  for (const [i, segment] of segments.entries()) {
    const [kind = ""] = decoded(before).toLowerCase().split(";");
    const isName = NAMING.has(kind) && !(kind === "models" && NO_NAME.test(segments.slice(i).join("/")));
    before = segment;
    if (!isName) continue;
    names.push(decoded(segment.split(":")[0] ?? ""));
    // A name says nothing of what comes behind it.
    before = "";
  }
  return names;
}

/** Gives a part of a path as it is read: what is no UTF-8 stays as it stands. */
export function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text.replace(/%([2-7][\da-f])/gi, (_, code: string) => String.fromCharCode(Number.parseInt(code, 16)));
  }
}
