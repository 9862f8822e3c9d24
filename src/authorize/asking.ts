import { namedByConnection } from "../exchange/headers.ts";
import { collect } from "../http/body.ts";
import { type Call, type UpstreamClient, UpstreamFailure, type UpstreamRequest, type UpstreamResponse } from "../http/client.ts";
import { Fields } from "../http/fields.ts";
import type { RouteAuthorize } from "./route-authorize.ts";

/** Says what a service has decided about a request. */
export type Decision =
  /** It may pass. `fields`: those for the backend; `null`: none. */
  | { readonly kind: "allowed"; readonly fields: Fields | null }
  /** The caller gets this answer, whose body is there as a whole. */
  | { readonly kind: "refused"; readonly response: UpstreamResponse }
  /** It has not decided. `why`: for the log. */
  | { readonly kind: "failed"; readonly why: string };

/** The most bytes of an answer's body that the caller is given: a page that asks for a sign-in is far smaller. */
export const MAX_BODY = 65_536;
/** The most characters of the fields that the backend is given: many servers take no more in a whole head. */
const MAX_GRANTED = 16_384;

/** Fields that describe a body: they go with it. */
const OF_BODY = ["content-type", "content-encoding", "content-language", "content-range", "content-disposition"];

/** Asks a service once. What its answer is, or that there is none, is a decision in any case. */
export class Asking {
  readonly decision: Promise<Decision>;
  private call: Call | null = null;
  private waiting = 0;
  private isGivenUp = false;
  private isLate = false;

  /** Asks by this head. `within`: milliseconds for all of the answer. */
  constructor(
    private readonly client: UpstreamClient,
    private readonly authorize: RouteAuthorize,
    head: string,
    within: number,
  ) {
    this.decision = this.decide(head, within);
  }

  /** True when nobody waits for it any more, so that it is not answered. */
  get isOver(): boolean {
    return this.isGivenUp;
  }

  /** Counts one more who waits for the decision. */
  enter(): void {
    this.waiting++;
  }

  /** Takes back one `enter`, since its caller has left. When nobody is left, the question is given up. */
  leave(): void {
    if (--this.waiting > 0) return;
    this.isGivenUp = true;
    this.call?.abort();
  }

  private async decide(head: string, within: number): Promise<Decision> {
    // The client looks at its own times only now and then.
    const timer = setTimeout(() => {
      this.isLate = true;
      this.call?.abort();
    }, within);
    try {
      return await this.read(await this.responseTo(head, within));
    } catch (error) {
      if (!(error instanceof UpstreamFailure)) throw error;
      return { kind: "failed", why: this.isLate || error.kind === "timeout" ? `no answer within ${within} ms` : error.message };
    } finally {
      clearTimeout(timer);
    }
  }

  private async responseTo(head: string, within: number): Promise<UpstreamResponse> {
    const request: UpstreamRequest = {
      ...{ method: "GET", head, body: null, chunked: false, upgrade: false },
      ...{ connectTimeout: within, timeout: within, bodyTimeout: within },
    };
    try {
      return await this.send(request);
    } catch (error) {
      // A kept connection that had been closed says nothing of the service; a new one can't be stale.
      if (!(error instanceof UpstreamFailure) || !error.isStale || this.isLate || this.isGivenUp) throw error;
      return await this.send({ ...request, reuse: "new" });
    }
  }

  private send(request: UpstreamRequest): Promise<UpstreamResponse> {
    this.call = this.client.send(this.authorize.origin, request);
    return this.call.response;
  }

  private async read(response: UpstreamResponse): Promise<Decision> {
    const { status } = response;
    if (status >= 300 && status < 500) return { kind: "refused", response: await this.whole(response) };
    swallow(response, this.authorize.timeout);
    if (status >= 500) return { kind: "failed", why: `answers ${status}` };
    const fields = grantedBy(response, this.authorize.sets);
    return fields === "too large"
      ? { kind: "failed", why: `its fields for the backend are larger than ${MAX_GRANTED} bytes` }
      : { kind: "allowed", fields };
  }

  /** Reads a refusal's body. What is too large, breaks off or comes too late is left out: the refusal stands all the same. */
  private async whole(response: UpstreamResponse): Promise<UpstreamResponse> {
    const { body } = response;
    if (body === null) return response;
    let bytes: Uint8Array | null = null;
    if (body instanceof Uint8Array) {
      if (body.length <= MAX_BODY) bytes = body;
    } else {
      const read = await collect(body, MAX_BODY).catch(() => null);
      // A body without a stated length ends with its connection, also when that was cut off here.
      if (!this.isLate) bytes = read;
    }
    if (bytes === null) return { ...response, fields: response.fields.without(...OF_BODY), body: null, length: -1 };
    return { ...response, body: bytes, length: bytes.length };
  }
}

/** Reads the rest of a small body that nobody gets, so that its connection can be used again; a large or slow one is given up. */
function swallow({ body }: UpstreamResponse, within: number): void {
  if (body === null || body instanceof Uint8Array) return;
  let size = 0;
  const patience = setTimeout(() => body.cancel(), within);
  const over = (): void => clearTimeout(patience);
  body.start({
    write: (bytes) => {
      size += bytes.length;
      if (size <= MAX_BODY) return true;
      over();
      body.cancel();
      return true;
    },
    end: over,
    fail: over,
  });
}

/** Gives the fields of a 2xx that the backend gets; `null`: there are none. */
function grantedBy({ fields, connection }: UpstreamResponse, sets: ReadonlySet<string>): Fields | null | "too large" {
  const named = namedByConnection(connection);
  let granted: Fields | null = null;
  let size = 0;
  for (let i = 0; i < fields.lower.length; i++) {
    const lower = fields.lower[i] as string;
    if (!sets.has(lower) || named?.has(lower)) continue;
    granted ??= new Fields();
    granted.add(fields.names[i] as string, lower, fields.values[i] as string);
    size += lower.length + (fields.values[i] as string).length;
  }
  return size > MAX_GRANTED ? "too large" : granted;
}
