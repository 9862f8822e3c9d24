import { print } from "../telemetry/stdout.ts";
import { type Command, type Input, UsageError } from "./arguments.ts";
import { gatewayUrl, REMOTE_FLAGS, RemoteFault, remotely, text } from "./remote.ts";

/** The demo's public keys. */
const FREE = "demo_free_key_123";
const PRO = "demo_pro_key_789";
/** A key that nobody has. */
const UNKNOWN = "demo_key_that_nobody_has";
/** Requests after which a limit that was expected is not there. */
const MAX_REQUESTS = 200;
/** Seconds that a breaker may take to close again. */
const RECOVERS_WITHIN = 30;

export const demo: Command = {
  name: "demo",
  usage: "demo tour [--url URL] [--token TOKEN]",
  summary:
    "Walks you through a running demo (`sluice` in a folder without config.json): keys, tiers, limits, DEGRADED, the breaker, a pool. Prints what is expected and what is seen; exit status 1 where they differ.",
  flags: REMOTE_FLAGS.filter(({ name }) => name !== "json"),
  actions: ["tour"],
  positionals: 1,
  run: (input) => {
    if (input.positionals[0] !== "tour") throw new UsageError("an action is needed: demo tour");
    return remotely(() => new Tour(input).walk());
  },
};

interface Seen {
  readonly status: number;
  readonly code: string | null;
  readonly body: Record<string, unknown>;
  readonly header: (name: string) => string | null;
}

class Tour {
  private readonly url: string;
  private differences = 0;

  constructor(private readonly input: Input) {
    this.url = gatewayUrl(text(input, "url"));
  }

  async walk(): Promise<number> {
    const first = await this.call("GET", "/test", FREE);
    if (first.status === 404 || (first.status === 401 && first.code !== null))
      throw new RemoteFault(`what runs at ${this.url} is not the demo: start it by \`sluice\` in a folder without a config.json`);

    this.title(
      "1. Who calls: keys",
      "A route may want an API key. Without one, or with a wrong one, the answer says so and nothing is charged.",
    );
    this.compare("GET /test without a key", "401 keyMissing", said(await this.call("GET", "/test")));
    const unknown = await this.call("GET", "/test", UNKNOWN);
    this.compare(
      "GET /test with a key that nobody has",
      `401 ${unknown.code === "keyMalformed" ? "keyMalformed" : "keyInvalid"}`,
      said(unknown),
    );
    const pro = await this.call("GET", "/test", PRO);
    this.compare(`GET /test with ${PRO}`, "200, tier pro", `${said(pro)}, tier ${pro.body.tier}`);

    this.title(
      "2. How much: tiers",
      "The tier free may make 20 requests a minute here, pro 150. What is left stands in the X-RateLimit headers.",
    );
    const limit = Number(first.header("x-ratelimit-limit"));
    const left = first.status === 429 ? 0 : Number(first.header("x-ratelimit-remaining"));
    this.compare("the limit of the tier free", "20", String(limit));
    let passed = 0;
    let last = first;
    for (; passed < MAX_REQUESTS; passed++) {
      last = await this.call("GET", "/test", FREE);
      if (last.status === 429) break;
    }
    // A minute is long: what left the window meanwhile may be used again.
    const isAsTold = passed >= left && passed <= limit;
    this.compare(
      `requests until the first refusal (${left} were left)`,
      `${left}, or some more where a minute passes`,
      String(passed),
      isAsTold,
    );
    this.compare("the one after them", "429 rateLimited", said(last));
    const wait = Number(last.header("retry-after"));
    this.compare("its Retry-After, in seconds", "1 to 60", String(wait), wait >= 1 && wait <= 60);
    this.compare("the tier pro meanwhile", "200", said(await this.call("GET", "/test", PRO)));

    await this.degrade();
    await this.breakAndMend();

    this.title(
      "5. Keys of others: a pool",
      "A pool holds credentials of another service, each with a budget, and hands out one that still has enough.",
    );
    const handed = await this.call("POST", "/api/v1/api-key", undefined, { type: "service_1" });
    const isHanded = (handed.status === 200 && typeof handed.body.api_key === "string") || handed.code === "poolExhausted";
    this.compare(
      'POST /api/v1/api-key {"type":"service_1"}',
      "200 with an api_key (429 poolExhausted when all are used up)",
      `${said(handed)} ${handed.body.api_key ?? ""}`.trim(),
      isHanded,
    );

    print(
      this.differences === 0
        ? `\nAll as expected. Next: ${this.url}/swagger, and \`sluice top\` while requests come.\n`
        : `\n${this.differences} of them differ from what was expected.\n`,
    );
    return this.differences === 0 ? 0 : 1;
  }

  private async degrade(): Promise<void> {
    this.title(
      "3. When it gets tight: DEGRADED",
      "An operator (or a rule) sets the system DEGRADED: free sheds load, pro keeps what it was promised.",
    );
    const token = text(this.input, "token") ?? process.env.SLUICE_ADMIN_TOKEN;
    if (!token) {
      print("  left out: it takes an admin token (--token TOKEN, or SLUICE_ADMIN_TOKEN; the start of the demo printed one)\n");
      return;
    }
    const admin = { authorization: `Bearer ${token}` };
    const set = await this.call("POST", "/admin/health", undefined, { status: "DEGRADED", reason: "demo tour", ttl: "1m" }, admin);
    this.compare("POST /admin/health DEGRADED", "200", said(set));
    if (set.status !== 200) return;
    try {
      this.compare("the limit of the tier free", "2", await this.limitOf(FREE));
      this.compare("the limit of the tier pro", "100", await this.limitOf(PRO));
    } finally {
      this.compare(
        "POST /admin/health NORMAL",
        "200",
        said(await this.call("POST", "/admin/health", undefined, { status: "NORMAL", reason: "demo tour" }, admin)),
      );
    }
    this.compare("the limit of the tier free", "20", await this.limitOf(FREE));
  }

  private async breakAndMend(): Promise<void> {
    this.title(
      "4. When a backend fails: the breaker",
      "The demo's backend is told to fail. After a few failures the breaker opens: callers get an answer at once, and the backend a rest.",
    );
    await this.call("POST", "/simulate-failure");
    let seen = await this.call("GET", "/proxy");
    let failures = 0;
    for (; seen.code !== "circuitOpen" && failures < 20; failures++) seen = await this.call("GET", "/proxy");
    this.compare(
      "GET /proxy, again and again",
      "503 circuitOpen after a few requests",
      `${said(seen)} after ${failures}`,
      seen.code === "circuitOpen",
    );
    await this.call("POST", "/simulate-recovery");
    const until = performance.now() + RECOVERS_WITHIN * 1000;
    do {
      await Bun.sleep(500);
      seen = await this.call("GET", "/proxy");
    } while (seen.status !== 200 && performance.now() < until);
    this.compare(`GET /proxy after POST /simulate-recovery, within ${RECOVERS_WITHIN} s`, "200", said(seen));
  }

  private async limitOf(key: string): Promise<string> {
    return (await this.call("GET", "/test", key)).header("x-ratelimit-limit") ?? "none";
  }

  private title(title: string, what: string): void {
    print(`\n${title}\n  ${what}\n`);
  }

  private compare(what: string, expected: string, seen: string, isSame = expected === seen): void {
    if (!isSame) this.differences++;
    print(`  ${isSame ? "ok" : "!!"}  ${what}\n        expected ${expected}; seen ${seen}\n`);
  }

  private async call(
    method: string,
    path: string,
    key?: string,
    body?: object,
    headers: Readonly<Record<string, string>> = {},
  ): Promise<Seen> {
    let answer: Response;
    try {
      answer = await fetch(new URL(path, this.url), {
        method,
        headers: {
          ...headers,
          ...(key === undefined ? {} : { "x-api-key": key }),
          ...(body === undefined ? {} : { "content-type": "application/json" }),
        },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      });
    } catch (error) {
      throw new RemoteFault(`nothing answers at ${this.url}: ${error instanceof Error ? error.message : String(error)}`);
    }
    const content = (await answer.json().catch(() => ({}))) as Record<string, unknown>;
    return {
      status: answer.status,
      code: typeof content?.code === "string" ? content.code : null,
      body: content ?? {},
      header: (name) => answer.headers.get(name),
    };
  }
}

const said = ({ status, code }: Seen): string => (code === null ? String(status) : `${status} ${code}`);
