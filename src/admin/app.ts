import { Elysia } from "elysia";
import type { Audit } from "../audit/audit.ts";
import { checkBody } from "../http/json-bounds.ts";
import { isLook } from "../http/methods.ts";
import { type Problem, problem } from "../http/problem.ts";
import type { Browser } from "../sessions/browser.ts";
import { NOTE_HEADER, noteIn } from "../versions/note.ts";
import { openApiDocument } from "./document.ts";
import { foreignRefusal, type Holders } from "./holders.ts";
import type { IdempotentAnswers } from "./idempotency.ts";
import type { ToolApi } from "./mcp/server.ts";
import { endpointRefusalOf, notHere, refusalOf, toResponse, type WhyUnwritable } from "./refusals.ts";
import type { AdminResource } from "./resource.ts";
import { isAtLeast, isOpenToAll, leastRole, resourceFinder } from "./rights.ts";
import { swagger } from "./swagger.ts";
import type { AdminTokens } from "./tokens.ts";
import type { Visit, Visits } from "./visits.ts";

export interface AdminDeps {
  readonly tokens: AdminTokens;
  /** Knows who may use it. */
  readonly holders: Holders;
  readonly visits: Visits;
  readonly answers: IdempotentAnswers;
  readonly audit: Audit;
  /** Takes over what other processes on the same database have changed. */
  readonly catchUp: () => void;
  readonly unwritable: WhyUnwritable;
  /** Gives what the types of problems begin with (`typesFrom`). */
  readonly problemTypes: () => string;
  /** Runs a change of records so that all instances that share them agree; `null` where there is one alone. */
  readonly write: ((work: () => Promise<Response>) => Promise<Response>) | null;
  /** Serves tools that stand for requests to this API. */
  readonly tools: { serve(api: ToolApi): void };
  /** Logs a fault of Sluice's own. */
  readonly onFault: (error: unknown, requestId: string) => void;
}

/**
 * Answers a request to the admin API. `ip` is its sender's address, `browser` tells how it has come; left out: over no connection, so that
 * no cookie counts.
 */
export type AdminHandler = (request: Request, requestId: string, ip?: string, browser?: Browser | null) => Promise<Response>;

/** Makes the admin API of these resources, with its documentation. */
export function createAdmin(deps: AdminDeps, resources: readonly AdminResource[]): AdminHandler {
  const resourceAt = resourceFinder(resources);
  const app = new Elysia({ normalize: false, aot: true });
  const methodsOf = methodFinder(() => app.routes);
  app
    .onError(({ error, code, request }) => {
      const requestId = request.headers.get("x-request-id") ?? "";
      const found =
        code === "NOT_FOUND" ? notHere(methodsOf(new URL(request.url).pathname)) : endpointRefusalOf(error, code, deps.unwritable);
      if (found.status === 500) deps.onFault(error, requestId);
      return toResponse(found, requestId, deps.problemTypes());
    })
    .use(swagger((): object => openApiDocument(app)))
    .group("/admin", (admin) => {
      for (const { endpoints } of resources) for (const each of endpoints) admin.use(each);
      return admin;
    });

  const handle: AdminHandler = async (request, requestId, ip = "", browser = null) => {
    const { pathname } = new URL(request.url);
    const isOpen = pathname === "/swagger" || pathname.startsWith("/swagger/");
    deps.catchUp();
    const response = isOpen
      ? await app.handle(request)
      : await guarded(deps, app, { request, path: pathname, resource: resourceAt(pathname), requestId, ip, browser });
    response.headers.set("X-Request-ID", requestId);
    response.headers.set("X-Content-Type-Options", "nosniff");
    // An answer may hold an API key; the documentation's files say for themselves how long they keep.
    if (!isOpen) response.headers.set("Cache-Control", "no-store");
    return response;
  };
  deps.tools.serve({
    document: () => openApiDocument(app),
    send: (request, { requestId, ip, browser }) => {
      request.headers.set("x-request-id", requestId);
      return handle(request, requestId, ip, browser);
    },
    roleOf: (method, path) => leastRole(resourceAt(path), method, path),
  });
  return handle;
}

/**
 * Finds the methods that a path takes: Elysia answers 404 where only the method is wrong. The routes are read at the first question, when
 * all are mounted.
 */
function methodFinder(routes: () => readonly { readonly method: string; readonly path: string }[]): (path: string) => string[] {
  let endpoints: readonly { readonly method: string; readonly isExact: boolean; readonly pattern: RegExp }[] | null = null;
  return (path) => {
    endpoints ??= routes().map(({ method, path }) => ({
      method,
      isExact: !path.includes(":"),
      pattern: new RegExp(`^${path.replace(/\/$/, "").replace(/:[^/]+/g, "[^/]+")}/?$`),
    }));
    const found = endpoints.filter(({ pattern }) => pattern.test(path));
    // A path that is an endpoint's own word for word, such as keys/import, is no record's.
    const exact = found.filter(({ isExact }) => isExact);
    return [...new Set((exact.length > 0 ? exact : found).map(({ method }) => method))].sort();
  };
}

/** Holds a request on its way, and the resource that its path leads to. */
interface Sent {
  readonly request: Request;
  readonly path: string;
  readonly resource: AdminResource | undefined;
  readonly requestId: string;
  readonly ip: string;
  readonly browser: Browser | null;
}

interface App {
  handle(request: Request): Promise<Response>;
}

/** Answers everything but the documentation: to somebody who may, or to anybody where an endpoint is open to all. */
async function guarded(deps: AdminDeps, app: App, sent: Sent): Promise<Response> {
  const { request, path, resource, requestId, ip, browser } = sent;
  const refuse = (refusal: Problem): Response => toResponse(refusal, requestId, deps.problemTypes());
  const isOpen = isOpenToAll(resource, request.method, path);
  const holder = isOpen ? null : deps.holders.of(request, ip, browser);
  if (holder !== null && "code" in holder) return refuse(holder);
  if (holder !== null) {
    if (holder.token !== null) deps.tokens.touch(holder.token);
    const foreign = foreignRefusal(holder, request, browser);
    if (foreign !== null) return refuse(foreign);
    if (!isAtLeast(holder.role, leastRole(resource, request.method, path)))
      return refuse(problem("forbidden", `This takes a token with more rights than ${holder.role}.`));
  }
  try {
    return await answered(deps, app, sent, { ip, requestId, browser, origin: request.headers.get("origin"), holder });
  } catch (error) {
    const refusal = refusalOf(error, deps.unwritable);
    if (refusal !== null) return refuse(refusal);
    throw error;
  }
}

/** Answers a request of somebody who may send it, which an Idempotency-Key may repeat. */
async function answered(deps: AdminDeps, app: App, { request, path, resource }: Sent, visit: Visit): Promise<Response> {
  const { holder, ip, requestId } = visit;
  const note = noteIn(request.headers.get(NOTE_HEADER));
  const actor = holder === null ? null : { name: holder.name, ip, requestId, note, isInConsole: holder.via === "session" };
  const { write } = deps;
  const isShared = write !== null && !isLook(request.method) && resource?.isShared === true && resource.local?.test(path) !== true;
  const act = (request: Request): Promise<Response> => {
    const handled = () => app.handle(deps.visits.put(request, visit));
    return actor === null ? handled() : deps.audit.as(actor, handled);
  };
  const handle = (request: Request): Promise<Response> => (isShared ? write(() => act(request)) : act(request));
  // A copy of the database is no answer to keep in the database.
  const mayRepeat = request.method === "POST" && !path.startsWith("/admin/backup");
  const key = mayRepeat && holder !== null ? request.headers.get("idempotency-key") : null;
  const again = (body: string | null): Request => new Request(request.url, { method: request.method, headers: request.headers, body });
  const body = request.body === null ? null : await request.text();
  if (body !== null) checkBody(body, path);
  if (key === null || holder === null) return await handle(body === null ? request : again(body));
  const identified = deps.answers.identify(key, holder.shown, request.method, path, body ?? "");
  // A repetition that comes while the first is still at work waits for it, or both would make a record.
  const once = async (): Promise<Response> => {
    const before = await deps.answers.find(identified);
    if (before !== null)
      return new Response(before.body, {
        status: before.status,
        headers: [...before.headers, ["Idempotent-Replayed", "true"]] as [string, string][],
      });
    const response = await act(again(body));
    const text = await response.text();
    const headers = [...response.headers].filter(([name]) => ["content-type", "location", "etag"].includes(name));
    // A refusal changed nothing: the corrected request may use the same key.
    if (response.ok) await deps.answers.keep(identified, { status: response.status, headers, body: text });
    return new Response(text, { status: response.status, headers: response.headers });
  };
  // The look for an answer is within the turn of the change: the same request may be on its way to another instance.
  return await deps.answers.oneAtATime(identified, () => (isShared ? write(once) : once()));
}
