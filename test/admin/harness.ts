import { openApiDocument } from "../../src/cli/openapi-document.ts";
import { loadConfig } from "../../src/config/load.ts";
import { openGateway } from "../../src/gateway/open.ts";
import { openScope } from "../../src/gateway/scope.ts";
import { FakeClock } from "../support/clock.ts";
import { conformance, type Document } from "../support/openapi.ts";

export const TOKEN = "admin-token-for-tests-0123456789";

export interface Call {
  readonly method?: string;
  /** Sent as JSON. */
  readonly body?: unknown;
  /** Sent as it is. */
  readonly raw?: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** `null`: none is sent. */
  readonly token?: string | null;
}

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  // biome-ignore lint/suspicious/noExplicitAny: a test looks into whatever came over the wire.
  readonly json: any;
}

export interface Options {
  readonly path?: string;
  readonly config?: object;
  readonly clock?: FakeClock;
  readonly token?: string | undefined;
  /** SLUICE_SECRET, and the one before it. */
  readonly secret?: string | undefined;
  readonly oldSecret?: string | undefined;
}

/** Every answer that any test gets is what the API document says of it. */
const documented = conformance((await openApiDocument()) as Document);

/** The admin API over a real database, called as the server calls it, without a socket. */
export function admin({ path = ":memory:", config = {}, clock = new FakeClock(), token = TOKEN, secret, oldSecret }: Options = {}) {
  const loaded = loadConfig(JSON.stringify(config), {});
  if ("faults" in loaded) throw new Error(JSON.stringify(loaded.faults));
  const faults: unknown[] = [];
  const scope = openScope((error) => faults.push(error));
  const gateway = openGateway(scope, {
    config: loaded.config,
    file: "config.json",
    // Nobody reaches it from elsewhere.
    host: "127.0.0.1",
    databasePath: path,
    adminToken: token === "" ? undefined : token,
    secret,
    oldSecret,
    clock,
    log: null,
    onFault: (error) => faults.push(error),
  });

  let count = 0;
  async function call(target: string, options: Call = {}): Promise<Answer> {
    const { method = "GET", body, raw } = options;
    const id = `request-${++count}`;
    const headers = new Headers({ "x-request-id": id, ...options.headers });
    const shown = options.token === undefined ? (token === "" ? (gateway.firstToken ?? "") : token) : options.token;
    if (shown !== null) headers.set("authorization", `Bearer ${shown}`);
    const text = raw ?? (body === undefined ? undefined : JSON.stringify(body));
    if (text !== undefined && !headers.has("content-type")) headers.set("content-type", "application/json");
    const request = new Request(`http://localhost${target}`, { method, headers, ...(text === undefined ? {} : { body: text }) });
    const response = await gateway.admin(request, id);
    const answer = await response.text();
    const undocumented = documented.faultsOf({
      method,
      target,
      status: response.status,
      type: response.headers.get("content-type"),
      text: answer,
    });
    if (undocumented.length > 0) throw new Error(`${undocumented.join("\n")}\n${answer.slice(0, 2000)}`);
    const isJson = /\bjson\b/.test(response.headers.get("content-type") ?? "") && answer !== "";
    return { status: response.status, headers: response.headers, text: answer, json: isJson ? JSON.parse(answer) : null };
  }
  const withBody =
    (method: string) =>
    (target: string, body: unknown, headers: Record<string, string> = {}) =>
      call(target, { method, body, headers });

  return {
    call,
    /** An answer's body as it goes over the wire. */
    bytes: async (target: string, headers: Record<string, string>) => {
      const response = await gateway.admin(new Request(`http://localhost${target}`, { headers }), `request-${++count}`);
      return { headers: response.headers, bytes: await response.bytes() };
    },
    get: (target: string) => call(target),
    post: withBody("POST"),
    patch: withBody("PATCH"),
    remove: (target: string, headers: Record<string, string> = {}) => call(target, { method: "DELETE", headers }),
    clock,
    warnings: gateway.warnings,
    madeToken: gateway.firstToken,
    /** Faults of Sluice's own: there should be none, whatever is sent. */
    faults,
    [Symbol.dispose]: () => scope.close(),
  };
}

export type Admin = ReturnType<typeof admin>;

/** Messages of a 422 by their path. */
export const errorsOf = (answer: Answer): Record<string, string> =>
  Object.fromEntries((answer.json?.errors ?? []).map((error: { path: string; message: string }) => [error.path, error.message]));
