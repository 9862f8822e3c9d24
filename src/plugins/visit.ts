import type { Caller } from "../exchange/caller.ts";
import type { Arrival, Exchange } from "../exchange/exchange.ts";
import { BodyReader } from "./body-reader.ts";
import { PluginContext } from "./context.ts";
import type { Deadline } from "./deadline.ts";
import type { Hook } from "./hook.ts";
import { PluginRequest } from "./request.ts";
import type { Use } from "./use.ts";

/** Gives what the records say of a caller besides; `null`: nothing. */
export type MetadataOf = (caller: Caller) => Readonly<Record<string, unknown>> | null;

/** Holds what the plug-ins of a route keep of one request. */
export class Visits {
  private readonly all: (Visit | undefined)[] = [];
  private reader: BodyReader | null = null;
  /** The changes of the request's headers up to now, whichever plug-in has made them. */
  changes = 0;

  /** Takes `maxBody`: the most bytes of a body that any of the plug-ins may read. */
  constructor(
    readonly exchange: Exchange<Arrival>,
    readonly maxBody: number,
    readonly metadataOf: MetadataOf,
  ) {}

  /** Gives what one of the plug-ins keeps. */
  of(use: Use): Visit {
    const known = this.all[use.at];
    if (known !== undefined) return known;
    const visit = new Visit(this, use);
    this.all[use.at] = visit;
    return visit;
  }

  /** Parts with a hook that took too long: whatever it does now changes nothing. */
  leave(use: Use): void {
    const visit = this.all[use.at];
    if (visit !== undefined) visit.isOver = true;
    this.all[use.at] = undefined;
  }

  /** The request's body, which all plug-ins read together. */
  get body(): BodyReader {
    if (this.reader !== null) return this.reader;
    const { exchange } = this;
    const { head } = exchange.incoming;
    this.reader = new BodyReader(
      exchange,
      {
        length: head.framing === "chunked" ? -1 : Math.max(0, head.contentLength),
        fields: head.fields,
        take: () => {
          // Whoever sends it on has it by then.
          if (exchange.attempts > 0 || exchange.status !== 0)
            throw new Error("the request's body is no longer there: read it in request, identify or admit");
          return exchange.body;
        },
        put: (body) => {
          // Only a response's is put there as bytes.
          if (!(body instanceof Uint8Array)) exchange.held = body;
        },
        isRequest: true,
      },
      this.maxBody,
    );
    return this.reader;
  }
}

/** Holds what one plug-in keeps of one request, and what its hooks see of it. */
export class Visit {
  readonly request: PluginRequest;
  readonly context: PluginContext;
  /** The hook under way; `null`: none. */
  hook: Hook | null = null;
  /** The time of the hook under way; `null`: nobody waits for it. */
  deadline: Deadline | null = null;
  /** True when nobody waits for its hook any more. */
  isOver = false;
  /** True when the hook under way may have changed the tags. */
  hasTags = false;
  private waits = 0;
  private undoings: (() => void)[] | null = null;

  constructor(
    readonly visits: Visits,
    readonly use: Use,
  ) {
    this.request = new PluginRequest(this);
    this.context = new PluginContext(this);
  }

  get exchange(): Exchange<Arrival> {
    return this.visits.exchange;
  }

  /** Begins a hook. */
  begin(hook: Hook): void {
    this.hook = hook;
    this.hasTags = false;
    this.undoings = null;
  }

  /** Takes note of how a change is undone, if that may be wanted: a hook that fails and is skipped has changed nothing. */
  changes(undo: () => () => void): void {
    if (!this.use.skips) return;
    this.undoings ??= [];
    this.undoings.push(undo());
  }

  /** Undoes what the hook under way has changed. */
  undo(): void {
    for (let undo = this.undoings?.pop(); undo !== undefined; undo = this.undoings?.pop()) undo();
  }

  /** True while the plug-in waits for a body. */
  get isWaiting(): boolean {
    return this.waits > 0;
  }

  /** Stops the plug-in's time while a body is waited for: how slowly others send is not its fault. */
  async whileWaiting<T>(work: Promise<T>): Promise<T> {
    this.waits++;
    this.deadline?.pause();
    try {
      return await work;
    } finally {
      this.waits--;
      if (this.waits === 0) this.deadline?.go();
    }
  }
}
