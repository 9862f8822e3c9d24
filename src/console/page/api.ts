import { signal } from "@preact/signals";

/** Says where in a body a value is wrong. */
export interface Fault {
  /** Such as `limits[0].window`; empty for the body itself. */
  readonly path: string;
  readonly message: string;
}

/** Says why the gateway refused, or that it could not be asked (`code` is then `unreachable`, and `status` 0). */
export class Problem extends Error {
  override readonly name = "Problem";
  readonly code: string;
  readonly requestId: string | null;
  readonly faults: readonly Fault[];

  constructor(
    readonly status: number,
    /** The members of the answer's problem (RFC 9457). */
    readonly members: Readonly<Record<string, unknown>>,
  ) {
    super(textOf(members.detail) ?? textOf(members.title) ?? `The gateway answered ${status}.`);
    this.code = textOf(members.code) ?? String(status);
    this.requestId = textOf(members.requestId);
    this.faults = Array.isArray(members.errors) ? members.errors.map(faultOf) : [];
  }
}

const textOf = (value: unknown): string | null => (typeof value === "string" ? value : null);

function faultOf(each: unknown): Fault {
  // What the gateway sends, or nothing that can be read: then it is shown as it is.
  const { path, message } = (each ?? {}) as { readonly path?: unknown; readonly message?: unknown };
  return { path: textOf(path) ?? "", message: textOf(message) ?? JSON.stringify(each) };
}

/** Gives any thrown value as a problem that can be shown. */
export const problemOf = (error: unknown): Problem =>
  error instanceof Problem ? error : new Problem(0, { code: "fault", detail: error instanceof Error ? error.message : String(error) });

/** Holds a page of a list. */
export interface Page<T> {
  readonly items: readonly T[];
  readonly nextCursor: string | null;
}

/** Holds an answer with the version by which a change of it can be refused. */
export interface Versioned<T> {
  readonly value: T;
  readonly etag: string | null;
}

/** The values of a query; what is empty, `null` or left out is not sent. */
export type Query = Readonly<Record<string, string | number | boolean | null | undefined>>;

/** True while the gateway can't be reached. */
export const isUnreachable = signal(false);

/** Called when the gateway knows no more who asks: the session has ended. */
export const onSignedOut: { call: () => void } = { call: () => {} };

/**
 * Asks the admin API. `path` begins behind `/admin/`, such as `consumers/acme`. Rejects with a `Problem`.
 *
 * @example
 * const { items } = await get<Page<Consumer>>("consumers", { limit: 50 });
 */
export const get = async <T>(path: string, query: Query = {}, signal?: AbortSignal): Promise<T> =>
  (await ask<T>("GET", pathWith(path, query), signal === undefined ? {} : { signal })).value;

/** Asks for a record with its ETag, for `send` to pass on. Rejects with a `Problem`. */
export const read = <T>(path: string, query: Query = {}): Promise<Versioned<T>> => ask<T>("GET", pathWith(path, query), {});

/** Says how a change is made. */
export interface Change {
  readonly body?: unknown;
  /** The version that it is meant for: another one is refused with 412. */
  readonly etag?: string | null;
  readonly query?: Query;
}

/**
 * Changes something by the admin API. A POST is safe to repeat: it has a key of its own. Rejects with a `Problem`.
 *
 * @example
 * await send("PATCH", "consumers/acme", { body: { tier: "gold" }, etag });
 */
export const send = <T = null>(
  method: "POST" | "PUT" | "PATCH" | "DELETE",
  path: string,
  { body, etag, query = {} }: Change = {},
): Promise<Versioned<T>> =>
  ask<T>(method, pathWith(path, query), {
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    headers: {
      ...(body === undefined ? {} : { "Content-Type": "application/json" }),
      ...(etag === undefined || etag === null ? {} : { "If-Match": etag }),
      // No other site's page can set this field, so that it can't act in the name of who is signed in.
      "X-Sluice-Console": "1",
    },
  });

/** Opens a stream of the admin API, such as `events`. Rejects with a `Problem`. */
export const open = async (path: string, query: Query, signal: AbortSignal): Promise<ReadableStream<Uint8Array>> => {
  const response = await answered("GET", pathWith(path, query), { signal });
  return response.body ?? new ReadableStream({ start: (controller) => controller.close() });
};

function pathWith(path: string, query: Query): string {
  const set = new URLSearchParams();
  for (const [name, value] of Object.entries(query))
    if (value !== null && value !== undefined && value !== "") set.set(name, String(value));
  return set.size === 0 ? `/admin/${path}` : `/admin/${path}?${set}`;
}

async function ask<T>(method: string, url: string, init: RequestInit): Promise<Versioned<T>> {
  const response = await answered(method, url, init);
  const isJson = response.headers.get("content-type")?.includes("json") === true;
  const text = await response.text().catch((error: unknown) => {
    throw unreachable(error);
  });
  // The API's document says what each path answers with; nothing here could check it.
  const value = (isJson && text !== "" ? JSON.parse(text) : text === "" ? null : text) as T;
  return { value, etag: response.headers.get("etag") };
}

/** Milliseconds after a sign-in in which another instance may not have heard of it, and after which it is asked once more. */
const FRESH_FOR = 2000;
const AGAIN_AFTER = 300;

let signedInAt = Number.NEGATIVE_INFINITY;

/** Notes that somebody has signed in a moment ago. */
export function noteSignIn(): void {
  signedInAt = performance.now();
}

async function answered(method: string, url: string, init: RequestInit): Promise<Response> {
  const response = await sent(method, url, init);
  if (response.status === 401 && performance.now() - signedInAt < FRESH_FOR) {
    // Nothing was done: what was sent may be sent again.
    await new Promise((resolve) => setTimeout(resolve, AGAIN_AFTER));
    return judged(await sent(method, url, init), url);
  }
  return judged(response, url);
}

async function sent(method: string, url: string, init: RequestInit): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(url, { method, credentials: "same-origin", cache: "no-store", redirect: "error", ...init });
  } catch (error) {
    if (init.signal?.aborted === true) throw error;
    throw unreachable(error);
  }
  isUnreachable.value = false;
  return response;
}

/** Gives an answer that is good. Rejects with the `Problem` that another is. */
async function judged(response: Response, url: string): Promise<Response> {
  if (response.ok) return response;
  const members: unknown = await response.json().catch(() => null);
  const problem = new Problem(response.status, typeof members === "object" && members !== null ? { ...members } : {});
  if (response.status === 401 && !url.startsWith("/admin/session")) onSignedOut.call();
  throw problem;
}

function unreachable(error: unknown): Problem {
  isUnreachable.value = true;
  const why = error instanceof Error ? error.message : String(error);
  return new Problem(0, { code: "unreachable", detail: `The gateway does not answer (${why}). It is asked again by itself.` });
}

/** Writes an id as one part of a path. */
export const part = (id: string): string => encodeURIComponent(id);
