/** What a plug-in of Sluice is written against: `sluice types` prints it. Keep it beside your plug-ins as sluice.d.ts, with a tsconfig.json. */
declare module "sluice" {
  /**
   * Takes part in requests. Leave out what you don't need: a hook that is not there costs nothing. Each hook may be async.
   *
   * @example
   * export default { name: "hello", request: (request) => { request.headers.set("X-Hello", "you"); } } satisfies Plugin;
   */
  export interface Plugin<Options = Readonly<Record<string, unknown>>> {
    /** How it is called in logs, metrics and traces; left out: as its file. 1 to 64 letters, digits and . _ - */
    readonly name?: string;
    /**
     * Is called once, when the plug-in is loaded. What it throws is a fault of the configuration, and the plug-in that served before goes
     * on. `options`: as they stand in the configuration.
     */
    setup?(options: Options, tools: Tools): Result<unknown>;
    /** Is asked when the route is found and nobody is identified. A Response answers the request. */
    request?(request: Request, context: Context): Result<Response | Nothing>;
    /**
     * Is asked who calls where neither a key nor a token nor a client's certificate says so. The first plug-in that names somebody decides; `null`: this one does not
     * know. A Response answers the request.
     */
    identify?(request: Request, context: Context): Result<Identified | Response | Nothing>;
    /** Is asked when it is known who calls, before limits count. May set `context.cost` and `context.tags`. A Response answers the request. */
    admit?(request: Request, context: Context): Result<Response | Nothing>;
    /**
     * Sees what a backend or the cache answers, for each caller. Its headers may be changed; another Response takes its place. Plug-ins are
     * asked in the reverse order: who was asked first about the request is asked last about the answer.
     */
    response?(response: Response, context: Context): Result<Response | Nothing>;
    /** Is told what became of the request when its answer is out. Nobody waits for it. */
    ended?(summary: Summary, context: Context): Result<unknown>;
    /** Is called when the plug-in is replaced and its last request has ended, or when the gateway stops. */
    stop?(): Result<unknown>;
  }

  type Result<T> = T | null | undefined | Promise<T | null | undefined>;
  /** What a hook gives that gives nothing. */
  type Nothing = ReturnType<() => void>;

  /** Holds what `setup` gets besides its options. */
  export interface Tools {
    readonly log: Log;
    /** The environment's variables. */
    readonly env: Readonly<Record<string, string | undefined>>;
    readonly fetch: typeof fetch;
  }

  /** Writes lines of the gateway's log, with the plug-in's name in them. */
  export interface Log {
    debug(message: string, fields?: Readonly<Record<string, unknown>>): void;
    info(message: string, fields?: Readonly<Record<string, unknown>>): void;
    warn(message: string, fields?: Readonly<Record<string, unknown>>): void;
    error(message: string, fields?: Readonly<Record<string, unknown>>): void;
  }

  /** Says who calls. */
  export interface Identified {
    /**
     * The consumer's id: 1 to 128 printable ASCII characters without spaces, quotes and backslashes, beginning with a letter or digit. Where
     * there is a record of this consumer, its limits, its quota and its tier hold.
     */
    readonly consumer: string;
    /** A tier of the configuration; left out: the record's, or the anonymous tier where there is no record. */
    readonly tier?: string;
    /** What the caller may do, for the scopes of routes. */
    readonly scopes?: readonly string[];
    /** What is known of the caller besides, for later hooks. */
    readonly metadata?: Readonly<Record<string, unknown>>;
  }

  /** Describes who calls. */
  export interface Caller {
    readonly via: "key" | "token" | "certificate" | "plugin";
    readonly consumer: string;
    readonly tier: string;
    readonly scopes: readonly string[];
    /** The key's id; `null` where there is none. */
    readonly keyId: string | null;
    /** What `identify` said, else what is kept with the key or with the record of the consumer; `{}` where nothing is. */
    readonly metadata: Readonly<Record<string, unknown>>;
  }

  /** Holds what is known of one request. */
  export interface Context {
    readonly route: { readonly name: string; readonly path: string };
    /** The caller's address: the peer's, or the one that trusted proxies name. */
    readonly ip: string;
    /** The X-Request-ID that stands in the answer and in the log. */
    readonly requestId: string;
    /** Who calls; `null`: nobody is known, or not yet. */
    readonly caller: Caller | null;
    /** What the request takes from each limit: 0 to 1,000,000,000, a whole number. May be set until limits count. */
    cost: number;
    /** What limits may count the request by: `"by": "tag:NAME"`. Texts of at most 256 characters, 16 at most. May be set until limits count. */
    tags: Record<string, string>;
    /** Yours: what one hook leaves here, the next ones of this plug-in find, for this request. */
    readonly state: Record<string, unknown>;
    readonly log: Log;
  }

  /** Says what became of a request. */
  export interface Summary {
    /** The answer's status; 499: the caller left before there was one. */
    readonly status: number;
    /** Milliseconds from the request's head to the last byte of the answer. */
    readonly duration: number;
    /** The code of Sluice's own problem; `null`: there was none. */
    readonly code: string | null;
    /** The cache's part in the answer; `null`: none. */
    readonly cache: "hit" | "miss" | "stale" | "revalidated" | "bypass" | null;
    /** The number of times that the request was sent to a backend. */
    readonly attempts: number;
    /** The backend's URL; `null`: none was asked. */
    readonly target: string | null;
    /** The units that the response said it cost; `null`: nothing is read. */
    readonly units: number | null;
  }
}
