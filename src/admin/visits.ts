import type { Browser } from "../sessions/browser.ts";
import type { Holder } from "./holders.ts";

/** Says from where a request to the admin API has come, and whose it is. */
export interface Visit {
  readonly ip: string;
  readonly requestId: string;
  /** The Origin field; `null`: there is none. */
  readonly origin: string | null;
  /** How a browser has sent it; `null`: it has not come over a connection. */
  readonly browser: Browser | null;
  /** Whose it is; `null`: it is one that anybody may send. */
  readonly holder: Holder | null;
}

/** Remembers what is known of requests while endpoints answer them, who see no more than the request itself. */
export class Visits {
  private readonly visits = new WeakMap<Request, Visit>();

  put(request: Request, visit: Visit): Request {
    this.visits.set(request, visit);
    return request;
  }

  of(request: Request): Visit {
    const visit = this.visits.get(request);
    if (visit === undefined) throw new Error("nobody has said whose request this is");
    return visit;
  }
}
