import { isOfProxies } from "../http/name-filter.ts";
import { type HeaderTarget, LiveHeaders } from "./live-headers.ts";
import { MessageBody } from "./message-body.ts";
import type { Visit } from "./visit.ts";

/** Fields that say how a body is encoded and framed on its way. */
const OF_BODY = ["content-encoding", "content-length", "transfer-encoding"];

/**
 * Shows a request to a plug-in as the web's `Request`, of which it is an instance. Nothing of it is made before it is asked for: most hooks
 * look at one header. Its headers may be changed; its method and its URL are what the route was found by.
 */
export class PluginRequest {
  readonly #visit: Visit;
  #headers: LiveHeaders | null = null;
  /** The changes that `#headers` shows. */
  #shown = 0;
  #content: MessageBody | null = null;
  #signal: AbortSignal | null = null;

  constructor(visit: Visit) {
    this.#visit = visit;
  }

  get method(): string {
    return this.#visit.exchange.incoming.head.method;
  }

  /** The URL as it is matched and forwarded, with the host that the caller named. */
  get url(): string {
    const { incoming, path, query } = this.#visit.exchange;
    return `${incoming.isTls ? "https" : "http"}://${incoming.head.host || "localhost"}${path}${query}`;
  }

  get headers(): Headers {
    const { visits, exchange } = this.#visit;
    // Another plug-in may have changed them since an earlier hook of this one.
    if (this.#headers === null || this.#shown !== visits.changes)
      this.#headers = new LiveHeaders(exchange.incoming.head.fields, this.#target());
    this.#shown = visits.changes;
    return this.#headers.web;
  }

  /** Aborts when the caller leaves before there was an answer. */
  get signal(): AbortSignal {
    if (this.#signal !== null) return this.#signal;
    const { exchange } = this.#visit;
    const controller = new AbortController();
    exchange.onEnded(() => {
      if (exchange.incoming.isAborted) controller.abort();
    });
    this.#signal = controller.signal;
    return this.#signal;
  }

  get body(): ReadableStream<Uint8Array> | null {
    return this.#visit.exchange.body === null ? null : this.#body().stream();
  }

  /** False: the body can be read as often as one likes. */
  get bodyUsed(): boolean {
    return false;
  }

  bytes(): Promise<Uint8Array<ArrayBuffer>> {
    return this.#body().bytes();
  }

  async arrayBuffer(): Promise<ArrayBuffer> {
    return (await this.bytes()).buffer;
  }

  text(): Promise<string> {
    return this.#body().text();
  }

  json(): Promise<unknown> {
    return this.#body().json();
  }

  blob(): Promise<Blob> {
    return this.#body().blob();
  }

  formData(): Promise<FormData> {
    return this.#body().formData();
  }

  /** Gives a request of the plug-in's own, which may be sent and changed. */
  clone(): Request {
    const { method, url, signal } = this;
    const body = method === "GET" || method === "HEAD" ? null : this.body;
    const headers = new Headers(this.headers);
    // It is decoded by then, and framed anew.
    if (body !== null) for (const name of OF_BODY) headers.delete(name);
    return new Request(url, { method, headers, signal, ...(body === null ? {} : { body }) });
  }

  // What follows has no meaning here; the web's defaults stand there, for programs that take a Request apart.
  get cache(): string {
    return "default";
  }
  get credentials(): string {
    return "same-origin";
  }
  get destination(): string {
    return "";
  }
  get duplex(): string {
    return "half";
  }
  get integrity(): string {
    return "";
  }
  get keepalive(): boolean {
    return false;
  }
  get mode(): string {
    return "cors";
  }
  get redirect(): string {
    return "follow";
  }
  get referrer(): string {
    return "";
  }
  get referrerPolicy(): string {
    return "";
  }

  #body(): MessageBody {
    const visit = this.#visit;
    const { visits, use, exchange } = visit;
    const type = (): string => exchange.incoming.head.fields.get("content-type") ?? "";
    this.#content ??= new MessageBody({ reader: visits.body, max: use.maxBody, type, visit });
    return this.#content;
  }

  #target(): HeaderTarget {
    const visit = this.#visit;
    const { exchange, use } = visit;
    const { fields } = exchange.incoming.head;
    return {
      forChange: (lower) => {
        if (visit.isOver) return null;
        // What an issuer's claims fill is theirs: the backend takes it for proven.
        if (isOfProxies(lower) || exchange.route.claimFields.has(lower)) {
          use.instance.ignores(lower);
          return null;
        }
        visit.changes(() => {
          const before = fields.without();
          const { dropsAuthorization } = exchange;
          return () => {
            fields.become(before);
            exchange.dropsAuthorization = dropsAuthorization;
            this.#headers = null;
          };
        });
        visit.visits.changes++;
        this.#shown = visit.visits.changes;
        // What stands there from now on is for the backend; what the caller sent was a key of Sluice's.
        if (lower === "authorization") exchange.dropsAuthorization = false;
        return fields;
      },
    };
  }
}

// `request instanceof Request` holds, and what is asked of a Request beyond this class says that it is none.
Object.setPrototypeOf(PluginRequest.prototype, Request.prototype);
