import { X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { wireFaults } from "../config/live.ts";
import type { Config } from "../config/schema.ts";
import { requestId } from "../exchange/exchange.ts";
import { TOO_SLOW } from "../exchange/failure.ts";
import { ADMIN_METHODS, ADMIN_ONLY, isAdminPath, isReading, neverTaken, ONLY_READ, ownAt } from "../exchange/own.ts";
import { collect, StreamBody, TooLarge, TooSlow } from "../http/body.ts";
import { clientIp } from "../http/client-ip.ts";
import { crowdLimits } from "../http/crowd.ts";
import type { HeadFault } from "../http/head.ts";
import { maxBodyOf } from "../http/json-bounds.ts";
import { parseTarget } from "../http/path.ts";
import { bodyTooLarge, type Problem, type ProblemCode, problem } from "../http/problem.ts";
import { INTERNAL } from "../http/refused.ts";
import { date, jsonReply, problemReply, reasonOf } from "../http/reply.ts";
import { type HttpLimits, HttpServer, type Incoming, type Reply } from "../http/server.ts";
import { demoOf, pageAt, pageHead, pageOf, wantsPage } from "../pages/landing.ts";
import type { OwnEndpoint } from "../telemetry/metrics.ts";
import { isLoopback } from "../values/ip.ts";
import { parseDuration, parseSize } from "../values/units.ts";
import { VERSION } from "../version.ts";
import type { GatewayParts } from "./open.ts";

export interface ServerOptions {
  readonly config: Config;
  readonly host: string;
  readonly port: number;
  /** Lets other processes listen on the same port. */
  readonly reusePort?: boolean;
  readonly gateway: GatewayParts;
  readonly onFault: (error: unknown, requestId: string) => void;
}

/** The gateway's listeners: the main port, and one for the admin API when it has its own. */
export interface Listeners {
  readonly port: number;
  readonly adminPort: number;
  /** Takes over what of a configuration is the listeners'. */
  reconfigure(config: Config): void;
  /** Lets what is in flight end, for `drainTimeout` at most. */
  stop(): Promise<void>;
}

/** Types of answers that are passed on as they come. */
const STREAMS: readonly string[] = ["application/vnd.sqlite3", "text/event-stream"];

const NO_PAGE = problem("routeNotFound", "The documentation has no such page; /docs lists what there is.");

/** What may stand in a page as the name by which somebody came. */
const SANE_HOST = /^[A-Za-z0-9.-]{1,253}(:\d{1,5})?$|^\[[0-9A-Fa-f:.]{2,45}\](:\d{1,5})?$/;

const FAULT_CODES: Readonly<Record<HeadFault["status"], ProblemCode>> = {
  400: "badRequest",
  408: "requestTimeout",
  417: "expectationFailed",
  431: "headersTooLarge",
  501: "notImplemented",
  505: "versionNotSupported",
};

/** Opens the listeners. Throws when a port is taken or a certificate can't be read. */
export function listen(options: ServerOptions): Listeners {
  const { config, gateway } = options;
  const startedAt = performance.now();
  const { tls: files } = config.server;
  const tls = files === null ? null : { cert: readFileSync(files.cert, "utf8"), key: readFileSync(files.key, "utf8") };
  if (tls !== null) gateway.certificateExpires(Date.parse(new X509Certificate(tls.cert).validTo));
  const shared = {
    tls,
    limits: limitsOf(config),
    crowd: gateway.crowd,
    reusePort: options.reusePort === true,
    refuse: (fault: HeadFault, ip: string): Reply => {
      const id = Bun.randomUUIDv7();
      gateway.recorder.malformed({ requestId: id, status: fault.status, detail: fault.detail, ip }, gateway.snapshot());
      return refusal(problem(FAULT_CODES[fault.status], fault.detail), id);
    },
    onFault: (error: unknown) => options.onFault(error, ""),
  };

  const idOf = (incoming: Incoming): string => requestId(incoming.head.fields.get("x-request-id"), gateway.snapshot().redactor);
  /** The last header line of an answer of our own: how long it took, in milliseconds. */
  const timed = (incoming: Incoming, began: number, reply: Reply, endpoint: OwnEndpoint): void => {
    const elapsed = performance.now() - began;
    gateway.countsOf(endpoint).observe(incoming.head.method, reply.status, elapsed, null);
    incoming.reply({ ...reply, head: `${reply.head}X-Process-Time: ${Math.round(elapsed * 1000) / 1000}\r\n` });
  };
  const own = (incoming: Incoming): string => `X-Request-ID: ${idOf(incoming)}\r\nCache-Control: no-store\r\n`;
  const callerOf = (incoming: Incoming): string =>
    clientIp(incoming.ip, incoming.head.fields.joined("x-forwarded-for"), gateway.snapshot().trustedProxies);
  /** Why a request that takes an admin token is refused, as at /admin; `null` for one that shows it. */
  const tokenRefusal = (incoming: Incoming): Problem | null =>
    gateway.tokenRefusal(incoming.head.fields.get("authorization"), callerOf(incoming));
  const alive = (incoming: Incoming): void => {
    const began = performance.now();
    if (!isReading(incoming.head.method)) {
      timed(incoming, began, refusal(ONLY_READ, idOf(incoming)), "health");
      return;
    }
    timed(
      incoming,
      began,
      jsonReply(200, { status: "healthy", version: VERSION, uptime: Math.round(performance.now() - startedAt) / 1000 }, own(incoming)),
      "health",
    );
  };
  const ready = (incoming: Incoming): void => {
    const began = performance.now();
    if (!isReading(incoming.head.method)) {
      timed(incoming, began, refusal(ONLY_READ, idOf(incoming)), "ready");
      return;
    }
    const components = gateway.components();
    // Without Redis an instance goes on by itself, if that is what was asked for.
    const failing = Object.keys(components).filter((name) => !["ok", "away", "degraded"].includes(components[name] ?? ""));
    if (main.draining) failing.push("draining");
    const status = failing.length === 0 ? 200 : 503;
    const { loadedAt, faults } = gateway.live.status;
    // A faulty file is no reason to take a gateway out of service that serves the one before.
    // Who guesses at tokens is told as little as everybody, and is counted.
    const isInsider = isLocal(incoming) || (incoming.head.fields.get("authorization") !== null && tokenRefusal(incoming) === null);
    const configuration = {
      status: faults.length === 0 ? "ok" : "faulty",
      loadedAt: new Date(loadedAt).toISOString(),
      ...(isInsider ? { faults: wireFaults(faults) } : {}),
    };
    const warnings = gateway.warnings.all().map(({ code, message, detail, since }) => ({
      code,
      message,
      since: new Date(since).toISOString(),
      ...(isInsider ? { detail } : {}),
    }));
    timed(
      incoming,
      began,
      jsonReply(
        status,
        {
          status: status === 200 ? "ready" : "unavailable",
          failing,
          components,
          ...(isInsider ? { upstreams: gateway.required() } : {}),
          configuration,
          warnings,
        },
        own(incoming) + (status === 200 ? "" : "Retry-After: 1\r\n"),
      ),
      "ready",
    );
  };
  /** For scrapers on this machine, and for whoever shows an admin token. */
  const measure = (incoming: Incoming, path: string): void => {
    const began = performance.now();
    const { fields } = incoming.head;
    if (!isReading(incoming.head.method)) {
      timed(incoming, began, refusal(ONLY_READ, idOf(incoming)), "metrics");
      return;
    }
    const stranger = isLocal(incoming) ? null : tokenRefusal(incoming);
    if (stranger !== null) {
      timed(incoming, began, refusal(stranger, idOf(incoming)), "metrics");
      return;
    }
    if (path === "/_metrics") {
      timed(incoming, began, jsonReply(200, gateway.summary(), own(incoming)), "metrics");
      return;
    }
    gateway.metrics(fields.get("accept")).then(
      ({ type, body }) => {
        const head = `Content-Type: ${type}\r\n${date()}${own(incoming)}`;
        timed(incoming, began, { status: 200, reason: "OK", head, body: Buffer.from(body), length: -1 }, "metrics");
      },
      (error: unknown) => {
        const id = idOf(incoming);
        options.onFault(error, id);
        const broken = problem("internal", "The metrics could not be read; the log has more under this request id.");
        timed(incoming, began, refusal(broken, id), "metrics");
      },
    );
  };
  /** A page of our own, for who comes with a browser, or the same as JSON. The demo's keys are public; those of any other configuration are nobody's business. */
  const show = (incoming: Incoming, path: string): void => {
    const began = performance.now();
    const { fields } = incoming.head;
    const host = fields.get("host") ?? "";
    const origin = `${config.server.tls === null ? "http" : "https"}://${SANE_HOST.test(host) ? host : `localhost:${main.port}`}`;
    const found = pageAt(path, wantsPage(fields.joined("accept")), demoOf(gateway.config()), origin);
    if (found === null) {
      timed(incoming, began, refusal(NO_PAGE, idOf(incoming)), "docs");
      return;
    }
    const head = `${pageHead(found.type)}${date()}X-Request-ID: ${idOf(incoming)}\r\nCache-Control: no-cache\r\n`;
    timed(incoming, began, { status: 200, reason: "OK", head, body: found.body, length: -1 }, "docs");
  };
  const administrate = (incoming: Incoming, target: string): void => {
    const id = idOf(incoming);
    const began = performance.now();
    const ip = callerOf(incoming);
    answerAdmin(incoming, target, gateway, id, ip)
      .catch((error: unknown) => {
        if (error instanceof TooLarge) return refusal(bodyTooLarge(error.max), id);
        if (error instanceof TooSlow) return refusal(TOO_SLOW, id);
        if (!incoming.isAborted && !incoming.isReplied) options.onFault(error, id);
        return refusal(INTERNAL, id);
      })
      .then((reply) => {
        incoming.reply(reply);
        const [path = ""] = target.split("?", 1);
        const latencyMs = Math.round((performance.now() - began) * 1000) / 1000;
        gateway.recorder.administered({ requestId: id, method: incoming.head.method, path, status: reply.status, latencyMs, ip });
      });
  };
  const ownListener = config.admin.listen;

  const main = new HttpServer({
    ...shared,
    hostname: options.host,
    port: options.port,
    handle: (incoming) => {
      const { method } = incoming.head;
      const never = neverTaken(method);
      if (never !== null) return gateway.pipeline.reject(incoming, gateway.snapshot(), never);
      const target = parseTarget(incoming.head.target);
      if (typeof target === "string") {
        // An id in an admin path may hold what no route's path may.
        if (ownListener === null && isAdminPath(incoming.head.target)) return administrate(incoming, incoming.head.target);
        return gateway.pipeline.reject(incoming, gateway.snapshot(), problem("badRequest", target));
      }
      switch (ownAt(target.path, method, ownListener !== null, gateway)) {
        case "health":
          return alive(incoming);
        case "ready":
          return ready(incoming);
        case "metrics":
          return measure(incoming, target.path);
        case "page":
          return show(incoming, target.path);
        case "admin":
          return administrate(incoming, target.path + target.query);
        case "handOut":
          return gateway.handOut()?.handle(incoming, gateway.snapshot(), target.path, target.query);
      }
      gateway.pipeline.handle(incoming, gateway.snapshot(), target);
    },
  });
  const admin =
    ownListener === null
      ? null
      : new HttpServer({
          ...shared,
          hostname: ownListener.host,
          port: ownListener.port,
          handle: (incoming) => {
            const { target } = incoming.head;
            const path = target.split("?", 1)[0];
            if (path === "/health" || path === "/_health") alive(incoming);
            else if (path === "/ready") ready(incoming);
            else if (path === "/metrics" || path === "/_metrics") measure(incoming, path);
            // No route is served here.
            else if (path !== undefined && pageOf(path) !== null && isReading(incoming.head.method)) show(incoming, path);
            else administrate(incoming, target.startsWith("/") ? target : "/");
          },
        });

  return {
    reconfigure: (next) => {
      Object.assign(shared.limits, limitsOf(next));
      Object.assign(gateway.crowd.limits, crowdLimits(next.server));
    },
    port: main.port,
    adminPort: admin?.port ?? main.port,
    stop: async () => {
      gateway.endStreams();
      const timeout = parseDuration(gateway.config().server.drainTimeout);
      await Promise.all([main.stop(timeout), admin?.stop(timeout)]);
    },
  };
}

const limitsOf = ({ server }: Config): HttpLimits => ({
  maxHeaderSize: parseSize(server.maxHeaderSize),
  maxBodySize: parseSize(server.maxBodySize),
  bodyRate: parseSize(server.bodyRate),
});

/**
 * Whether a program on this machine asks. What a proxy on this machine passes on comes from elsewhere, and so does what a page has its visitor's browser ask
 * under a name that leads here (DNS rebinding).
 */
const isLocal = ({ ip, head: { fields, host } }: Incoming): boolean =>
  isLoopback(ip) && LOOPBACK_HOST.test(host) && PROXY_FIELDS.every((name) => fields.get(name) === null);

const LOOPBACK_HOST = /^(?:localhost\.?|127\.\d{1,3}\.\d{1,3}\.\d{1,3}|\[::1\])(?::\d*)?$/i;
const PROXY_FIELDS: readonly string[] = ["forwarded", "x-forwarded-for", "x-real-ip"];

const refusal = (refusal: Problem, id: string): Reply => problemReply(refusal, id, `X-Request-ID: ${id}\r\n`);

/** Hands a request to the admin API, which speaks in Request and Response. */
async function answerAdmin(incoming: Incoming, target: string, gateway: GatewayParts, id: string, ip: string): Promise<Reply> {
  const { head } = incoming;
  // A Request takes methods that it does not know for GET.
  if (!ADMIN_METHODS.includes(head.method)) return refusal(ADMIN_ONLY, id);
  const headers = new Headers();
  for (let i = 0; i < head.fields.names.length; i++) {
    const name = head.fields.lower[i] as string;
    if (name !== "content-length" && name !== "transfer-encoding" && name !== "connection")
      headers.append(name, head.fields.values[i] as string);
  }
  headers.set("x-request-id", id);
  // Strangers get their refusal before a byte of their body is kept in memory.
  const max = maxBodyOf(target.split("?", 1)[0] ?? "");
  if (head.contentLength > max) throw new TooLarge(max);
  const isWelcome = gateway.holdsToken(head.fields.get("authorization"));
  const body = incoming.body === null || !isWelcome ? null : await collect(incoming.body, max);
  const hasBody = body !== null && head.method !== "GET" && head.method !== "HEAD";
  const request = new Request(`http://localhost${target}`, {
    method: head.method === "HEAD" ? "GET" : head.method,
    headers,
    ...(hasBody ? { body } : {}),
  });
  const response = await gateway.admin(request, id, ip);
  let lines = date();
  for (const [name, value] of response.headers)
    if (name !== "content-length" && name !== "transfer-encoding") lines += `${name}: ${value}\r\n`;
  const isStream = STREAMS.includes(response.headers.get("content-type") ?? "");
  const answer = isStream && response.body !== null ? new StreamBody(response.body) : await response.bytes();
  return { status: response.status, reason: reasonOf(response.status), head: lines, body: answer, length: -1 };
}
