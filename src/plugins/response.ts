import { reasonOf } from "../http/reply.ts";
import { type Draft, mayChange } from "./draft.ts";
import { LiveHeaders } from "./live-headers.ts";
import { MessageBody } from "./message-body.ts";
import { streamOf } from "./stream.ts";
import type { Visit } from "./visit.ts";

/**
 * Shows an answer to a plug-in as the web's `Response`, of which it is an instance. Nothing of it is made before it is asked for. Its
 * headers may be changed; who wants another status or body gives another Response.
 */
export class PluginResponse {
  readonly #visit: Visit;
  readonly #draft: Draft;
  #headers: LiveHeaders | null = null;
  #content: MessageBody | null = null;
  #stream: ReadableStream<Uint8Array> | null = null;

  constructor(visit: Visit, draft: Draft) {
    this.#visit = visit;
    this.#draft = draft;
  }

  get status(): number {
    return this.#draft.status;
  }

  get statusText(): string {
    return this.#draft.reason || reasonOf(this.status);
  }

  get ok(): boolean {
    return this.status >= 200 && this.status <= 299;
  }

  get headers(): Headers {
    return this.#live().web;
  }

  /** The bytes as the backend sends them, still encoded, for another Response to be made of; `null`: there is no body. */
  get body(): ReadableStream<Uint8Array> | null {
    const draft = this.#draft;
    if (draft.body === null) return null;
    this.#stream ??= streamOf(() => {
      draft.isTaken = true;
      return draft.body;
    });
    return this.#stream;
  }

  /** True when the stream is read. */
  get bodyUsed(): boolean {
    return this.#draft.isTaken;
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

  /** Gives a response of the plug-in's own. Its body is read when somebody wants it. */
  clone(): Response {
    const { status, statusText, headers } = this;
    const body = this.#draft.body === null ? null : this.#body().stream();
    return new Response(body, { status, statusText, headers: new Headers(headers) });
  }

  // What follows has no meaning here; the web's defaults stand there, for programs that take a Response apart.
  get redirected(): boolean {
    return false;
  }
  get type(): string {
    return "default";
  }
  get url(): string {
    return "";
  }

  #live(): LiveHeaders {
    this.#headers ??= new LiveHeaders(this.#draft.fields, { forChange: (lower) => this.#fieldsFor(lower) });
    return this.#headers;
  }

  #body(): MessageBody {
    const visit = this.#visit;
    const draft = this.#draft;
    // From here on it is decoded for the plug-in, whose headers must not say otherwise: they are copied to Responses.
    for (const name of ["content-encoding", "content-length"]) this.#live().hide(name);
    this.#content ??= new MessageBody({
      ...{ reader: draft.bodyReader, max: visit.use.maxBody, visit },
      type: () => draft.fields.get("content-type") ?? "",
    });
    return this.#content;
  }

  #fieldsFor(lower: string) {
    const visit = this.#visit;
    const draft = this.#draft;
    if (visit.isOver) return null;
    if (!mayChange(lower)) {
      visit.use.instance.ignores(lower);
      return null;
    }
    visit.changes(() => {
      const before = draft.fields.without();
      const { isChanged } = draft;
      return () => {
        draft.restore(before, isChanged);
        this.#headers = null;
      };
    });
    return draft.changeable;
  }
}

// `response instanceof Response` holds, and what is asked of a Response beyond this class says that it is none.
Object.setPrototypeOf(PluginResponse.prototype, Response.prototype);
