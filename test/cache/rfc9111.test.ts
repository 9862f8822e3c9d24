import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { type Arrived, type Deed, flaky } from "../support/flaky.ts";
import { exchange } from "../support/raw.ts";
import { serving } from "../support/serving.ts";

// What RFC 9111 asks of a shared cache, one row a behaviour, each through real HTTP against a real backend. Time is moved, not waited for.

const SECOND = 1000;
const HOUR = 3600;
const A = { "x-api-key": "key-of-consumer-a-0123" };
const B = { "x-api-key": "key-of-consumer-b-0123" };

let behind: ReturnType<typeof flaky>;
let gateway: ReturnType<typeof serving>;
/** What the backend answers, by path. */
const scripts = new Map<string, (request: Arrived) => Deed | Promise<Deed>>();

beforeAll(() => {
  behind = flaky((request) => scripts.get(request.path.split("?", 1)[0] ?? "")?.(request) ?? { status: 404 });
  const route = (name: string, more: object = {}) => ({
    name,
    path: `/${name}`,
    stripPrefix: false,
    upstream: behind.url,
    auth: "optional",
    retry: null,
    cache: {},
    ...more,
  });
  gateway = serving({
    tiers: { anonymous: { limits: [] }, plain: { limits: [] } },
    consumers: [
      { id: "a", tier: "plain", keys: [A["x-api-key"]] },
      { id: "b", tier: "plain", keys: [B["x-api-key"]] },
    ],
    routes: [
      route("plain"),
      route("ttl", { cache: { ttl: "60s" } }),
      route("shared", { cache: { ttl: "60s", shared: true } }),
      route("own", { cache: { ttl: "60s", perConsumer: true } }),
      route("small", { cache: { ttl: "60s", maxEntrySize: "1kb" } }),
      route("keyed", { cache: { ttl: "60s", key: { headers: ["X-Tenant"], query: ["page"] } } }),
      route("uncached", { cache: null }),
    ],
  });
});
afterAll(async () => {
  await gateway.stop();
  behind[Symbol.dispose]();
  expect(gateway.faults).toEqual([]);
});

const date = (offset = 0) => new Date(gateway.clock.wall() + offset * SECOND).toUTCString();
const pass = (seconds: number) => {
  gateway.clock.time += seconds * SECOND;
};

interface Got {
  readonly status: number;
  readonly body: string;
  readonly headers: Headers;
  /** Whether the backend was asked. */
  readonly asked: boolean;
  readonly said: string;
}

let made = 0;
/** A path of its own, whose backend answers what `answer` says. Bodies are numbered unless one is given. */
function resource(answer: Deed | ((request: Arrived, n: number) => Deed | Promise<Deed>), route = "plain") {
  const path = `/${route}/${++made}`;
  let n = 0;
  scripts.set(path, (request) => {
    n++;
    const deed = typeof answer === "function" ? answer(request, n) : answer;
    return deed instanceof Promise || deed === "reset" ? deed : { body: `body ${n}`, ...deed };
  });
  const ask = async (headers: Record<string, string> = {}, method = "GET", query = ""): Promise<Got> => {
    const before = behind.seen.length;
    // Bun's fetch would otherwise say no-cache or keep things by itself.
    const response = await fetch(gateway.url + path + query, { method, headers, redirect: "manual" });
    const body = await response.text();
    return {
      status: response.status,
      body,
      headers: response.headers,
      asked: behind.seen.length > before,
      said: response.headers.get("cache-status") ?? "",
    };
  };
  return { path, ask, asked: () => n };
}

const ok = (headers: Record<string, string> = {}): Deed => ({ status: 200, headers });
const cc = (value: string): Deed => ok({ "Cache-Control": value });

/** Asks twice, with time in between, and says whether the second answer was a kept one. */
async function isKept(answer: Deed, wait = 0, request: Record<string, string> = {}, route = "plain"): Promise<boolean> {
  const { ask } = resource(answer, route);
  await ask();
  pass(wait);
  return !(await ask(request)).asked;
}

describe("freshness (§4.2)", () => {
  const rows: [sentence: string, answer: () => Deed, wait: number, kept: boolean][] = [
    ["max-age: fresh before it is over", () => cc("max-age=60"), 59, true],
    ["max-age: stale when it is over", () => cc("max-age=60"), 60, false],
    ["max-age=0 is never fresh", () => cc("max-age=0"), 0, false],
    ["s-maxage is for shared caches and beats max-age, upwards", () => cc("max-age=1, s-maxage=60"), 30, true],
    ["s-maxage beats max-age, downwards", () => cc("max-age=60, s-maxage=1"), 30, false],
    ["max-age beats Expires", () => ok({ "Cache-Control": "max-age=60", Expires: date(-HOUR) }), 30, true],
    ["s-maxage beats Expires", () => ok({ "Cache-Control": "s-maxage=1", Expires: date(HOUR) }), 30, false],
    ["Expires: fresh before it", () => ok({ Date: date(), Expires: date(60) }), 58, true],
    ["Expires: stale after it", () => ok({ Date: date(), Expires: date(60) }), 61, false],
    ["Expires counts from Date, not from now", () => ok({ Date: date(-100), Expires: date(-40) }), 0, false],
    ["Expires without Date counts from the arrival", () => ok({ Expires: date(60) }), 30, true],
    ["Expires: 0 is in the past", () => ok({ Expires: "0", "Last-Modified": date(-HOUR * 100) }), 0, false],
    ["Expires that is no date is in the past", () => ok({ Expires: "next week", "Last-Modified": date(-HOUR * 100) }), 0, false],
    [
      "Expires in the form of RFC 850 is read",
      () => ok({ Expires: "Sunday, 06-Nov-94 08:49:37 GMT", "Last-Modified": date(-HOUR * 100) }),
      0,
      false,
    ],
    [
      "Expires in the form of asctime is read",
      () => ok({ Expires: "Sun Nov  6 08:49:37 1994", "Last-Modified": date(-HOUR * 100) }),
      0,
      false,
    ],
    ["Expires is read in any letter case", () => ok({ Date: date().toLowerCase(), Expires: date(60).toUpperCase() }), 58, true],
    ["Expires in any letter case is over when it is over", () => ok({ Date: date(), Expires: date(60).toLowerCase() }), 61, false],
    [
      "Expires in another zone is in the past",
      () => ok({ Expires: date(60).replace("GMT", "UTC"), "Last-Modified": date(-HOUR * 100) }),
      0,
      false,
    ],
    ["directives are known in any letter case", () => cc("MAX-AGE=60"), 30, true],
    ["a quoted number is a number", () => cc('max-age="60"'), 30, true],
    ["a lifetime that is no number is none", () => cc("max-age=sixty"), 0, false],
    ["a negative lifetime is none", () => cc("max-age=-1"), 0, false],
    ["of two lifetimes the shorter counts", () => cc("max-age=60, max-age=1"), 30, false],
    ["a lifetime beyond 2^31 counts as that", () => cc("max-age=99999999999999999999"), HOUR * 24 * 365, true],
    ["unknown directives are passed over", () => cc('foo, bar=1, baz="a, max-age=0", max-age=60'), 30, true],
    ["two Cache-Control fields are one", () => ok({ "Cache-Control": "foo", "cache-control": "max-age=60" }), 30, true],
    ["nothing said, but modified long ago: a tenth of that time", () => ok({ Date: date(), "Last-Modified": date(-1000) }), 98, true],
    ["nothing said: stale after a tenth of its age", () => ok({ Date: date(), "Last-Modified": date(-1000) }), 102, false],
    ["a guess is never longer than a day", () => ok({ Date: date(), "Last-Modified": date(-HOUR * 24 * 365) }), HOUR * 24 + 1, false],
    ["nothing said and nothing known: asked each time", () => ok(), 0, false],
    ["a 404 may be guessed about", () => ({ status: 404, headers: { Date: date(), "Last-Modified": date(-1000) } }), 50, true],
    [
      "a 302 may not be guessed about",
      () => ({ status: 302, headers: { Date: date(), "Last-Modified": date(-1000), Location: "/" } }),
      0,
      false,
    ],
    ["a 302 that states a lifetime is kept", () => ({ status: 302, headers: { "Cache-Control": "max-age=60", Location: "/" } }), 30, true],
    ["a 503 that states a lifetime is kept", () => ({ status: 503, headers: { "Cache-Control": "max-age=60" } }), 30, true],
    [
      "public makes a 302 one to guess about",
      () => ({ status: 302, headers: { "Cache-Control": "public", Date: date(), "Last-Modified": date(-1000), Location: "/" } }),
      50,
      true,
    ],
    ["a 204 is kept", () => ({ status: 204, headers: { "Cache-Control": "max-age=60" } }), 30, true],
  ];
  test.each(rows)("%s", async (_sentence, answer, wait, kept) => {
    expect(await isKept(answer(), wait)).toBe(kept);
  });

  test("the route's ttl is for responses that state nothing, and for those alone", async () => {
    expect(await isKept(ok(), 59, {}, "ttl")).toBe(true);
    expect(await isKept(ok(), 60, {}, "ttl")).toBe(false);
    expect(await isKept(cc("max-age=1"), 30, {}, "ttl")).toBe(false);
    expect(await isKept(cc("no-store"), 0, {}, "ttl")).toBe(false);
    expect(await isKept({ status: 500 }, 0, {}, "ttl")).toBe(false);
    expect(await isKept({ status: 302, headers: { Location: "/" } }, 0, {}, "ttl")).toBe(false);
  });
});

describe("CDN-Cache-Control (RFC 9213)", () => {
  const both = (targeted: string, plain = "max-age=60"): Deed => ok({ "Cache-Control": plain, "CDN-Cache-Control": targeted });
  const rows: [sentence: string, answer: () => Deed, wait: number, kept: boolean][] = [
    ["private is not kept", () => both("private"), 0, false],
    ["no-store is not kept", () => both("no-store"), 0, false],
    ["its lifetime beats Cache-Control's, upwards", () => both("max-age=60", "max-age=1"), 30, true],
    ["its lifetime beats Cache-Control's, downwards", () => both("max-age=1"), 30, false],
    ["Cache-Control's private and no-store say nothing beside it", () => both("max-age=60", "private, no-store"), 30, true],
    ["Expires says nothing beside it", () => ok({ "CDN-Cache-Control": "max-age=60", Expires: date(-HOUR) }), 30, true],
    [
      "Expires says nothing beside it, not even without a lifetime of its own",
      () => ok({ "CDN-Cache-Control": "must-revalidate", Expires: date(HOUR) }),
      0,
      false,
    ],
    ["s-maxage beats max-age", () => both("max-age=1, s-maxage=60"), 30, true],
    ["no-cache is asked about each time", () => both("no-cache, max-age=60"), 0, false],
    ["no-cache for some fields is for all", () => both('no-cache="a", max-age=60'), 0, false],
    ["a flag that is false is not set", () => both("private=?0, max-age=60"), 30, true],
    ["of two the last counts", () => both("max-age=1, max-age=60"), 30, true],
    [
      "parameters and what is unknown are passed over",
      () => both('foo;a="x, no-store", max-age=60;b=1, bar=(1 "2" x), none=1.5'),
      30,
      true,
    ],
    ["what is unknown alone takes Cache-Control's place", () => both("none", "no-store, max-age=60"), 0, false],
    [
      "several fields are one",
      () => ok({ "Cache-Control": "no-store", "CDN-Cache-Control": "foo", "cdn-cache-control": "max-age=60" }),
      30,
      true,
    ],
    ["a quoted lifetime is none", () => both('max-age="60"', "max-age=1"), 30, false],
    ["a negative lifetime is none", () => both("max-age=-1"), 0, false],
    ["an empty one counts as missing", () => both(""), 30, true],
    ["what is no dictionary counts as missing", () => both("max-age=60,", "no-store"), 0, false],
    ["capitals are no dictionary", () => both("No-Store"), 30, true],
    ["broken text is no dictionary", () => both('no-store, a="b'), 30, true],
    ["a missing comma is no dictionary", () => both("no-store max-age=1"), 30, true],
    ["Surrogate-Control says nothing here", () => ok({ "Cache-Control": "max-age=60", "Surrogate-Control": "no-store" }), 30, true],
  ];
  test.each(rows)("%s", async (_sentence, answer, wait, kept) => {
    expect(await isKept(answer(), wait)).toBe(kept);
  });

  test("is passed on, for caches that are nearer to the caller", async () => {
    const { ask } = resource(both("max-age=60", "no-store"));
    await ask();
    const { headers, asked } = await ask();
    expect([headers.get("cdn-cache-control"), headers.get("cache-control"), asked]).toEqual(["max-age=60", "no-store", false]);
  });

  test("is everybody's answer to a caller with a key only when it says so", async () => {
    for (const [control, kept] of [
      ["max-age=60", false],
      ["public, max-age=60", true],
      ["s-maxage=60", true],
    ] as const) {
      const { ask } = resource(both(control, "public, max-age=60"));
      await ask(A);
      expect([control, (await ask(B)).asked]).toEqual([control, !kept]);
    }
  });
});

describe("age (§4.2.3, §5.1)", () => {
  test("grows with the time in the cache, and is told in whole seconds", async () => {
    const { ask } = resource(cc("max-age=60"));
    expect((await ask()).headers.get("age")).toBeNull();
    expect((await ask()).headers.get("age")).toBe("0");
    pass(12.5);
    const { headers, said, body } = await ask();
    expect([headers.get("age"), said, body]).toEqual(["12", "sluice; hit; ttl=47", "body 1"]);
  });

  test("begins with the Age that the response came with", async () => {
    const { ask } = resource(ok({ "Cache-Control": "max-age=60", Age: "50" }));
    await ask();
    pass(5);
    expect(await ask()).toMatchObject({ asked: false });
    expect((await ask()).headers.get("age")).toBe("55");
    pass(6);
    expect((await ask()).asked).toBe(true);
  });

  test.each([
    ["7200, 0", false],
    ["0, 7200", true],
    ["old, 7200", true],
    [" 30 ,7200", true],
  ])("of the list %p the first member counts", async (age, kept) => {
    expect(await isKept(ok({ "Cache-Control": "max-age=60", Age: age }))).toBe(kept);
  });

  test("is at least the time since the response's Date", async () => {
    expect(await isKept(ok({ "Cache-Control": "max-age=60", Date: date(-55) }), 4)).toBe(true);
    expect(await isKept(ok({ "Cache-Control": "max-age=60", Date: date(-55) }), 6)).toBe(false);
  });

  test("is not negative when the backend's clock is ahead", async () => {
    const { ask } = resource(ok({ "Cache-Control": "max-age=60", Date: date(HOUR) }));
    await ask();
    expect((await ask()).headers.get("age")).toBe("0");
  });

  test("includes the time that the response was under way", async () => {
    const { ask } = resource(async () => {
      pass(20);
      return ok({ "Cache-Control": "max-age=60", Age: "30" });
    });
    await ask();
    expect((await ask()).headers.get("age")).toBe("50");
  });

  test("that is no number is passed over; a response without a Date gets one", async () => {
    const { ask } = resource(ok({ "Cache-Control": "max-age=60", Age: "old" }));
    await ask();
    const { headers } = await ask();
    expect([headers.get("age"), headers.get("date")]).toEqual(["0", date()]);
  });
});

describe("what may be kept (§3)", () => {
  const rows: [sentence: string, answer: Deed, kept: boolean][] = [
    ["no-store is not kept", cc("no-store, max-age=60"), false],
    ["private is not kept", cc("private, max-age=60"), false],
    ['private="X-Secret" is not kept either', cc('private="X-Secret", max-age=60'), false],
    ["no-store beside must-understand is kept when the status is understood", cc("no-store, must-understand, max-age=60"), true],
    [
      "must-understand with an unknown status is not kept",
      { status: 299, headers: { "Cache-Control": "must-understand, max-age=60" } },
      false,
    ],
    ["Set-Cookie is not kept: it is one caller's", ok({ "Cache-Control": "public, max-age=60", "Set-Cookie": "sid=1" }), false],
    ["206 is not kept", { status: 206, headers: { "Cache-Control": "max-age=60", "Content-Range": "bytes 0-5/9" } }, false],
    ["a stream of events is not kept", ok({ "Cache-Control": "max-age=60", "Content-Type": "text/event-stream" }), false],
    ["Vary: * is not kept", ok({ "Cache-Control": "max-age=60", Vary: "Accept, *" }), false],
    ["Pragma in a response says nothing", ok({ "Cache-Control": "max-age=60", Pragma: "no-cache" }), true],
  ];
  test.each(rows)("%s", async (_sentence, answer, kept) => {
    expect(await isKept(answer, 1)).toBe(kept);
  });

  test("a response is kept byte by byte, with its fields; those of this hop are not", async () => {
    const bytes = Buffer.from(Array.from({ length: 256 }, (_, i) => i)).toString("latin1");
    const { ask } = resource(() => ({
      status: 200,
      headers: {
        "Cache-Control": "max-age=60",
        "X-Custom": "yes",
        Connection: "X-Hop",
        "X-Hop": "1",
        "Content-Type": "text/plain; charset=latin1",
        "X-RateLimit-Limit": "9",
      },
      body: bytes.replace(/[\x80-\xff]/g, "?"),
    }));
    const first = await ask();
    const second = await ask();
    expect([second.status, second.body, second.asked]).toEqual([200, first.body, false]);
    expect(second.headers.get("x-custom")).toBe("yes");
    for (const name of ["x-hop", "x-ratelimit-limit"]) expect(second.headers.get(name)).toBeNull();
    expect(second.headers.get("x-request-id")).not.toBe(first.headers.get("x-request-id"));
  });

  test("an answer to a request with a cookie is kept only if it says that it may be", async () => {
    const cookie = { cookie: "sid=1" };
    for (const [answer, kept] of [
      [ok(), false],
      [cc("max-age=60"), true],
      [cc("public"), true],
    ] as const) {
      const { ask } = resource(answer, "ttl");
      await ask(cookie);
      expect((await ask(cookie)).asked).toBe(!kept);
    }
  });

  test("a request with no-store leaves nothing behind", async () => {
    const { ask } = resource(cc("max-age=60"));
    await ask({ "cache-control": "no-store" });
    expect((await ask()).asked).toBe(true);
    expect((await ask()).asked).toBe(false);
  });

  test("larger ones than maxEntrySize are not kept, with and without a stated length", async () => {
    expect(await isKept({ status: 200, body: "x".repeat(1024) }, 0, {}, "small")).toBe(true);
    expect(await isKept({ status: 200, body: "x".repeat(1025) }, 0, {}, "small")).toBe(false);
  });
});

describe("callers with a key or Authorization (§3.5)", () => {
  const rows: [sentence: string, control: string, kept: boolean][] = [
    ["a lifetime alone does not make it everybody's", "max-age=60", false],
    ["public does", "public, max-age=60", true],
    ["s-maxage does", "s-maxage=60", true],
    ["must-revalidate does", "must-revalidate, max-age=60", true],
    ["proxy-revalidate does not", "proxy-revalidate, max-age=60", false],
    ["private never does", "private, public, s-maxage=60", false],
  ];
  test.each(rows)("%s", async (_sentence, control, kept) => {
    for (const caller of [A, { authorization: "Basic YTpi" }]) {
      const { ask } = resource(cc(control));
      await ask(caller);
      expect((await ask(caller)).asked).toBe(!kept);
    }
  });

  test("two consumers never see each other's private answer, whatever the headers", async () => {
    const mine = (request: Arrived, headers: Record<string, string>): Deed => ({
      status: 200,
      headers,
      body: `for ${request.headers["x-consumer-id"]}`,
    });
    const answers: Record<string, string>[] = [
      {},
      { "Cache-Control": "max-age=60" },
      { "Cache-Control": "private, max-age=60" },
      { "Cache-Control": "public, max-age=60", "Set-Cookie": "sid=1" },
      { "Cache-Control": "public, max-age=60", Vary: "X-Consumer-ID" },
      { "Cache-Control": "public, max-age=60", Vary: "X-API-Key" },
      { "Cache-Control": "s-maxage=60", Vary: "Accept, x-consumer-id" },
      { "Cache-Control": "s-maxage=60", Vary: "*" },
      { "Cache-Control": "no-store" },
      { Expires: date(60) },
      { ETag: '"1"' },
      { Date: date(), "Last-Modified": date(-100_000) },
    ];
    for (const route of ["plain", "ttl"]) {
      for (const headers of answers) {
        const { ask } = resource((request) => mine(request, headers), route);
        // What a caller claims of itself is not believed.
        const claims: Record<string, string>[] = [
          {},
          { "x-consumer-id": "a" },
          { "if-none-match": '"1"' },
          { "cache-control": "max-stale" },
        ];
        for (const claim of claims) {
          const [a, b] = await Promise.all([ask({ ...claim, ...A }), ask({ ...claim, ...B })]);
          if (a.status === 200) expect(a.body).toBe("for a");
          if (b.status === 200) expect(b.body).toBe("for b");
          expect([a.status, b.status].every((status) => status === 200 || status === 304)).toBe(true);
        }
      }
    }
  });

  test("a shared route keeps them for all, but never what says private or another Authorization", async () => {
    const { ask } = resource(ok(), "shared");
    expect((await ask(A)).asked).toBe(true);
    expect((await ask(B)).asked).toBe(false);
    const secret = resource(cc("private"), "shared");
    await secret.ask(A);
    expect((await secret.ask(B)).asked).toBe(true);
    const login = resource(ok(), "shared");
    await login.ask({ ...A, authorization: "Basic YTpi" });
    expect((await login.ask({ ...A, authorization: "Basic YTpi" })).asked).toBe(true);
  });
});

describe("Cache-Status says why an answer was not kept (RFC 9211)", () => {
  const rows: [detail: string, answer: Deed, request: Record<string, string>, route: string][] = [
    ["needs-shared-or-per-consumer", ok(), A, "ttl"],
    ["needs-shared-or-per-consumer", cc("max-age=60"), A, "plain"],
    ["authorization", cc("max-age=60"), { authorization: "Basic YTpi" }, "plain"],
    ["no-store", cc("no-store"), {}, "plain"],
    ["no-store", ok({ "Cache-Control": "max-age=60", "CDN-Cache-Control": "no-store" }), {}, "plain"],
    ["private", cc("private"), {}, "plain"],
    ["request-no-store", cc("max-age=60"), { "cache-control": "no-store" }, "plain"],
    ["set-cookie", ok({ "Cache-Control": "max-age=60", "Set-Cookie": "a=1" }), {}, "plain"],
    ["vary-any", ok({ "Cache-Control": "max-age=60", Vary: "*" }), {}, "plain"],
    ["event-stream", ok({ "Cache-Control": "max-age=60", "Content-Type": "text/event-stream" }), {}, "plain"],
    ["cookie", ok(), { cookie: "a=1" }, "ttl"],
    ["no-lifetime", ok(), {}, "plain"],
    ["status", { status: 302, headers: { Location: "/" } }, {}, "ttl"],
    ["status", { status: 500 }, {}, "ttl"],
    ["partial", { status: 206, headers: { "Cache-Control": "max-age=60" } }, {}, "plain"],
    ["too-large", { status: 200, body: "x".repeat(1025) }, {}, "small"],
  ];
  test.each(rows)("%s", async (detail, answer, request, route) => {
    const { said, status } = await resource(answer, route).ask(request);
    expect(said).toBe(`sluice; fwd=uri-miss; fwd-status=${status}; detail=${detail}`);
  });

  test("and says that one was", async () => {
    expect((await resource(cc("max-age=60")).ask()).said).toBe("sluice; fwd=uri-miss; fwd-status=200; stored");
  });
});

describe("one copy for each consumer", () => {
  const forCaller = (request: Arrived, headers: Record<string, string> = {}): Deed => ({
    status: 200,
    headers,
    body: `for ${request.headers["x-consumer-id"] ?? "nobody"}`,
  });

  test("is given to that consumer alone; callers without a key have one together", async () => {
    const { ask, asked } = resource((request) => forCaller(request), "own");
    for (let i = 0; i < 3; i++) {
      expect(await ask(A)).toMatchObject({ body: "for a", asked: i === 0 });
      expect(await ask(B)).toMatchObject({ body: "for b", asked: i === 0 });
      expect(await ask()).toMatchObject({ body: "for nobody", asked: i === 0 });
    }
    expect(asked()).toBe(3);
    // Whoever claims to be another one gets none of it.
    expect((await ask({ "x-consumer-id": "a" })).body).toBe("for nobody");
  });

  test("is what explain names where a consumer's answers are not kept", async () => {
    const explained = async (route: string) => (await gateway.admin("GET", `/admin/explain?consumer=a&route=${route}`)).text();
    expect(await explained("ttl")).toContain("whether answers are kept: for callers with a key only those that say public");
    for (const route of ["own", "shared", "uncached"]) expect(await explained(route)).not.toContain("whether answers are kept");
  });

  test("is not made of what says private, or has another Authorization", async () => {
    for (const [answer, request] of [
      [cc("private, max-age=60"), A],
      [cc("no-store"), A],
      [ok({ "Set-Cookie": "a=1" }), A],
      [ok(), { ...A, authorization: "Basic YTpi" }],
    ] as const) {
      const { ask } = resource(answer, "own");
      await ask(request);
      expect((await ask(request)).asked).toBe(true);
    }
  });

  test("varies like any other, and is asked about for that consumer", async () => {
    const { ask } = resource((request) => {
      const tag = `"${request.headers["x-consumer-id"]}"`;
      if (request.headers["if-none-match"] !== undefined && request.headers["if-none-match"] !== tag) return { status: 500 };
      if (request.headers["if-none-match"] === tag) return { status: 304, headers: { ETag: tag } };
      return forCaller(request, { Vary: "Accept", ETag: tag });
    }, "own");
    for (const accept of ["a/b", "c/d"]) for (const caller of [A, B]) expect((await ask({ ...caller, accept })).asked).toBe(true);
    for (const accept of ["a/b", "c/d"]) for (const caller of [A, B]) expect((await ask({ ...caller, accept })).asked).toBe(false);
    pass(61);
    expect(await ask({ ...A, accept: "a/b" })).toMatchObject({ status: 200, body: "for a", said: "sluice; fwd=stale; fwd-status=304" });
    expect(await ask({ ...B, accept: "a/b" })).toMatchObject({ status: 200, body: "for b", said: "sluice; fwd=stale; fwd-status=304" });
  });

  test("one consumer's requests wait for each other, not for another's", async () => {
    const gates = { a: Promise.withResolvers<void>(), b: Promise.withResolvers<void>() };
    const { ask, asked } = resource(async (request) => {
      await gates[request.headers["x-consumer-id"] as "a" | "b"].promise;
      return forCaller(request);
    }, "own");
    const waiting = [A, A, A, B, B, B].map((caller) => ask(caller));
    while (asked() < 2) await Bun.sleep(1);
    gates.b.resolve();
    expect((await Promise.all(waiting.slice(3))).map(({ body }) => body)).toEqual(["for b", "for b", "for b"]);
    gates.a.resolve();
    expect((await Promise.all(waiting.slice(0, 3))).map(({ body }) => body)).toEqual(["for a", "for a", "for a"]);
    expect(asked()).toBe(2);
  });

  test("goes for all when one of them changes the URI, and by a purge", async () => {
    const { ask, path } = resource((request) => (request.method === "GET" ? forCaller(request) : { status: 204 }), "own");
    const everybody = async (query = "") => {
      const answers = [];
      for (const caller of [A, B, {}]) answers.push((await ask(caller, "GET", query)).asked);
      return answers;
    };
    await everybody();
    await everybody("?x=1");
    expect(await everybody()).toEqual([false, false, false]);
    await ask(A, "PUT");
    expect(await everybody()).toEqual([true, true, true]);
    expect(await everybody("?x=1")).toEqual([false, false, false]);
    expect(await (await gateway.admin("DELETE", `/admin/cache?route=own&prefix=${path}`)).json()).toEqual({ purged: 6 });
    expect(await everybody()).toEqual([true, true, true]);
  });
});

describe("Vary (§4.1)", () => {
  test("tells representations apart by the named fields, and keeps them all", async () => {
    const { ask } = resource((request) => ({
      ...(ok({ "Cache-Control": "max-age=60", Vary: "Accept-Language" }) as object),
      status: 200,
      body: request.headers["accept-language"] ?? "none",
    }));
    for (const language of ["de", "en", "fr"])
      expect(await ask({ "accept-language": language })).toMatchObject({ body: language, asked: true });
    for (const language of ["de", "en", "fr"])
      expect(await ask({ "accept-language": language })).toMatchObject({ body: language, asked: false });
    expect((await ask({ "accept-language": "it" })).said).toContain("fwd=vary-miss");
  });

  test("compares values without regard to white space, and names without regard to letter case", async () => {
    const { ask } = resource(ok({ "Cache-Control": "max-age=60", Vary: "ACCEPT, x-b" }));
    await ask({ accept: "a/b,  c/d", "x-b": " 1" });
    expect((await ask({ accept: "a/b,c/d", "x-b": "1" })).asked).toBe(false);
    expect((await ask({ accept: "c/d,a/b", "x-b": "1" })).asked).toBe(true);
  });

  test.each([
    ["Accept-Language", "de, en;q=0.5", "EN; q=0.50 ,DE", false],
    ["Accept-Language", "de, en", "en,de,de;q=1.0", false],
    ["Accept-Language", "de", "de-AT", true],
    ["Accept-Language", "de;q=0.5", "de;q=0.4", true],
    ["Accept-Language", "de;q=0", "de", true],
    ["Accept-Encoding", "gzip, br", "BR,gzip", false],
    ["Accept-Encoding", "gzip", "gzip, br", true],
    ["Accept-Encoding", "x".repeat(300), "X".repeat(300), true],
  ])("%s: %p beside %p", async (field, first, second, asked) => {
    const { ask } = resource(ok({ "Cache-Control": "max-age=60", Vary: field }));
    await ask({ [field]: first });
    expect((await ask({ [field]: second })).asked).toBe(asked);
  });

  test("a field that is missing is not a field that is there", async () => {
    const { ask } = resource(ok({ "Cache-Control": "max-age=60", Vary: "X-B" }));
    await ask();
    expect((await ask({ "x-b": "1" })).asked).toBe(true);
    expect((await ask()).asked).toBe(false);
  });

  test("the route's key adds fields, and narrows the query", async () => {
    const { ask } = resource(ok(), "keyed");
    await ask({ "x-tenant": "1" }, "GET", "?page=1&tracking=abc");
    expect((await ask({ "x-tenant": "1" }, "GET", "?tracking=def&page=1")).asked).toBe(false);
    expect((await ask({ "x-tenant": "1" }, "GET", "?page=2")).asked).toBe(true);
    expect((await ask({ "x-tenant": "2" }, "GET", "?page=1")).asked).toBe(true);
    const plain = resource(cc("max-age=60"));
    await plain.ask({}, "GET", "?a=1&b=2");
    expect((await plain.ask({}, "GET", "?b=2&a=1")).asked).toBe(true);
  });
});

describe("requests (§5.2.1)", () => {
  const rows: [sentence: string, control: string, request: Record<string, string>, wait: number, kept: boolean][] = [
    ["no-cache asks the backend", "max-age=60", { "cache-control": "no-cache" }, 0, false],
    ["Pragma: no-cache does so too, without Cache-Control", "max-age=60", { pragma: "no-cache" }, 0, false],
    ["Pragma says nothing beside Cache-Control", "max-age=60", { pragma: "no-cache", "cache-control": "foo" }, 0, true],
    ["max-age=0 asks the backend", "max-age=60", { "cache-control": "max-age=0" }, 0, false],
    ["max-age takes a younger one", "max-age=60", { "cache-control": "max-age=30" }, 20, true],
    ["max-age does not take an older one", "max-age=60", { "cache-control": "max-age=30" }, 40, false],
    ["min-fresh takes one that is fresh for longer", "max-age=60", { "cache-control": "min-fresh=30" }, 20, true],
    ["min-fresh does not take one that is fresh for less", "max-age=60", { "cache-control": "min-fresh=30" }, 40, false],
    ["max-stale takes one that is stale for less", "max-age=60", { "cache-control": "max-stale=30" }, 80, true],
    ["max-stale does not take one that is stale for longer", "max-age=60", { "cache-control": "max-stale=30" }, 100, false],
    ["max-stale without a number takes any", "max-age=60", { "cache-control": "max-stale" }, HOUR, true],
    ["max-stale does not beat must-revalidate", "max-age=60, must-revalidate", { "cache-control": "max-stale" }, 80, false],
    ["max-stale does not beat proxy-revalidate", "max-age=60, proxy-revalidate", { "cache-control": "max-stale" }, 80, false],
    ["max-stale does not beat s-maxage", "s-maxage=60", { "cache-control": "max-stale" }, 80, false],
    ["only-if-cached takes a kept one", "max-age=60", { "cache-control": "only-if-cached" }, 10, true],
  ];
  test.each(rows)("%s", async (_sentence, control, request, wait, kept) => {
    expect(await isKept(cc(control), wait, request)).toBe(kept);
  });

  test("only-if-cached gets 504 when nothing is kept, and the backend is not asked", async () => {
    const { ask } = resource(cc("max-age=60"));
    expect(await ask({ "cache-control": "only-if-cached" })).toMatchObject({ status: 504, asked: false });
  });
});

describe("ranges (RFC 9110 §14)", () => {
  const modified = () => date(-1000);
  const whole = (): Deed => ({
    status: 200,
    headers: { "Cache-Control": "max-age=60", ETag: '"v1"', "Last-Modified": modified(), "Content-Type": "text/plain" },
    body: "0123456789",
  });
  const rows: [range: string, status: number, body: string, contentRange: string | null][] = [
    ["bytes=0-3", 206, "0123", "bytes 0-3/10"],
    ["bytes=4-", 206, "456789", "bytes 4-9/10"],
    ["bytes=-3", 206, "789", "bytes 7-9/10"],
    ["bytes=-30", 206, "0123456789", "bytes 0-9/10"],
    ["bytes=9-100", 206, "9", "bytes 9-9/10"],
    ["Bytes = 2 - 2", 206, "2", "bytes 2-2/10"],
    ["bytes=10-", 416, "", "bytes */10"],
    ["bytes=-0", 416, "", "bytes */10"],
    ["bytes=99999999999999999999-", 416, "", "bytes */10"],
    ["bytes=0-1,4-5", 200, "0123456789", null],
    ["bytes=5-2", 200, "0123456789", null],
    ["bytes=-", 200, "0123456789", null],
    ["bytes=a-b", 200, "0123456789", null],
    ["lines=0-1", 200, "0123456789", null],
  ];
  test.each(rows)("%p of what is kept and fresh gets %d", async (range, status, body, contentRange) => {
    const { ask } = resource(whole());
    await ask();
    pass(10);
    const got = await ask({ range });
    expect([got.status, got.body, got.headers.get("content-range"), got.asked]).toEqual([status, body, contentRange, false]);
    expect([got.said, got.headers.get("age")]).toEqual(["sluice; hit; ttl=50", "10"]);
    if (status === 206)
      expect([
        got.headers.get("etag"),
        got.headers.get("content-type"),
        got.headers.get("content-length"),
        got.headers.get("date"),
      ]).toEqual(['"v1"', "text/plain", String(body.length), expect.any(String)]);
    expect(await ask()).toMatchObject({ status: 200, body: "0123456789" });
  });

  test("If-Range gives the part of the same version, and the whole of another one", async () => {
    const { ask } = resource(whole());
    await ask();
    const range = "bytes=0-1";
    for (const [condition, status] of [
      ['"v1"', 206],
      ['"v2"', 200],
      ['W/"v1"', 200],
      [modified(), 206],
      [date(-999), 200],
      [date(-1001), 200],
      ["some day", 200],
    ] as const)
      expect([condition, (await ask({ range, "if-range": condition })).status]).toEqual([condition, status]);
    // A weak tag, and a time that is as young as the response, may be another version's.
    const weak = resource(ok({ "Cache-Control": "max-age=60", ETag: 'W/"v1"', Date: date(), "Last-Modified": date() }));
    await weak.ask();
    for (const condition of ['W/"v1"', date()]) expect((await weak.ask({ range, "if-range": condition })).status).toBe(200);
  });

  test("what the caller has already comes first, and only complete 200s are taken apart", async () => {
    const { ask } = resource(whole());
    await ask();
    expect((await ask({ range: "bytes=0-1", "if-none-match": '"v1"' })).status).toBe(304);
    const missing = resource({ status: 404, headers: { "Cache-Control": "max-age=60" } });
    await missing.ask();
    expect(await missing.ask({ range: "bytes=0-1" })).toMatchObject({ status: 404, asked: false });
    const empty = resource({ status: 200, headers: { "Cache-Control": "max-age=60" }, body: "" });
    await empty.ask();
    expect(await empty.ask({ range: "bytes=0-1" })).toMatchObject({ status: 200, body: "" });
  });

  test("go by the cache when nothing fresh is kept, and their parts are not", async () => {
    const { ask } = resource(
      (request): Deed =>
        request.headers.range === undefined
          ? { ...(whole() as object), status: 200, headers: { "Cache-Control": "max-age=60, stale-while-revalidate=60" } }
          : { status: 206, headers: { "Cache-Control": "max-age=60", "Content-Range": "bytes 0-1/10" }, body: "01" },
    );
    for (let i = 0; i < 2; i++)
      expect(await ask({ range: "bytes=0-1" })).toMatchObject({ status: 206, asked: true, said: "sluice; fwd=bypass" });
    expect((await ask({ range: "bytes=0-1", "cache-control": "only-if-cached" })).status).toBe(504);
    await ask();
    pass(70);
    expect(await ask({ range: "bytes=0-1" })).toMatchObject({ status: 206, asked: true, said: "sluice; fwd=bypass" });
    expect(await ask({ range: "bytes=0-1", "cache-control": "max-stale=30" })).toMatchObject({ status: 206, asked: false });
  });

  test("of a HEAD mean nothing", async () => {
    const { ask } = resource(whole());
    await ask();
    const { status, headers, asked } = await ask({ range: "bytes=0-1", "if-range": '"v2"' }, "HEAD");
    expect([status, headers.get("content-length"), asked]).toEqual([200, "10", false]);
  });

  test("a HEAD with a range that makes a stale one be fetched again fetches the whole", async () => {
    const { ask } = resource((request, n) => ({
      status: request.headers.range === undefined ? 200 : 206,
      headers: { "Cache-Control": "max-age=60, stale-while-revalidate=60" },
      body: `body ${n}`,
    }));
    await ask();
    pass(70);
    await ask({ range: "bytes=0-1" }, "HEAD");
    while ((await ask()).body === "body 1") await Bun.sleep(1);
    expect(await ask()).toMatchObject({ status: 200, body: "body 2", asked: false });
  });
});

describe("asking whether it is still good (§4.3)", () => {
  const tagged =
    (tag: string, more: Record<string, string> = {}) =>
    (request: Arrived, n: number): Deed =>
      request.headers["if-none-match"] === tag
        ? { status: 304, headers: { "Cache-Control": "max-age=60", ETag: tag, "X-Renewed": String(n), ...more } }
        : { status: 200, headers: { "Cache-Control": "max-age=60", ETag: tag, "X-Kept": "1" } };

  test("a stale one with an ETag is asked about, and a 304 makes it fresh again with the new fields", async () => {
    const { ask, asked } = resource(tagged('"v1"'));
    await ask();
    pass(61);
    const renewed = await ask();
    expect(renewed).toMatchObject({ status: 200, body: "body 1", asked: true, said: "sluice; fwd=stale; fwd-status=304" });
    expect([renewed.headers.get("x-kept"), renewed.headers.get("x-renewed"), renewed.headers.get("age")]).toEqual(["1", "2", "0"]);
    pass(59);
    expect((await ask()).asked).toBe(false);
    expect(asked()).toBe(2);
  });

  test("a stale one with Last-Modified is asked about", async () => {
    const modified = date(-1000);
    const { ask } = resource(
      (request): Deed =>
        request.headers["if-modified-since"] === modified
          ? { status: 304, headers: { "Cache-Control": "max-age=60" } }
          : { status: 200, headers: { "Cache-Control": "max-age=60", "Last-Modified": modified } },
    );
    await ask();
    pass(61);
    expect(await ask()).toMatchObject({ status: 200, body: "body 1", asked: true });
  });

  test("a changed one takes the place of the stale one", async () => {
    const { ask } = resource((_request, n) => ok({ "Cache-Control": "max-age=60", ETag: `"v${n}"` }));
    await ask();
    pass(61);
    expect((await ask()).body).toBe("body 2");
    expect(await ask()).toMatchObject({ body: "body 2", asked: false });
  });

  test("a 304 does not change what the body is", async () => {
    const { ask } = resource(tagged('"v1"', { "Content-Type": "text/other", "Content-Encoding": "br" }));
    await ask();
    pass(61);
    const { headers, body } = await ask();
    expect([headers.get("content-type"), headers.get("content-encoding"), body]).toEqual([null, null, "body 1"]);
  });

  test("no-cache is kept, but asked about each time", async () => {
    const { ask, asked } = resource((request) =>
      request.headers["if-none-match"] === '"v1"'
        ? { status: 304, headers: { ETag: '"v1"', "Cache-Control": "no-cache" } }
        : ok({ "Cache-Control": "no-cache", ETag: '"v1"' }),
    );
    for (let i = 0; i < 3; i++) expect(await ask()).toMatchObject({ status: 200, body: "body 1", asked: true });
    expect(asked()).toBe(3);
  });

  test("the caller's own If-None-Match gets 304 from the cache, weakly compared, in a list, and by *", async () => {
    const { ask } = resource(ok({ "Cache-Control": "max-age=60", ETag: '"v1"', "Content-Type": "text/plain", "X-Kept": "1" }));
    await ask();
    for (const tags of ['"v1"', 'W/"v1"', '"a", "v1"', "*"]) {
      const { status, body, headers, asked } = await ask({ "if-none-match": tags });
      expect([tags, status, body, asked]).toEqual([tags, 304, "", false]);
      expect([headers.get("etag"), headers.get("cache-control"), headers.get("content-type"), headers.get("content-length")]).toEqual([
        '"v1"',
        "max-age=60",
        null,
        null,
      ]);
    }
    expect(await ask({ "if-none-match": '"v2"' })).toMatchObject({ status: 200, asked: false });
    expect(await ask({ "if-none-match": '"v2"', "if-modified-since": date(HOUR) })).toMatchObject({ status: 200 });
  });

  test("the caller's own If-Modified-Since gets 304 from the cache", async () => {
    const { ask } = resource(ok({ "Cache-Control": "max-age=60", "Last-Modified": date(-100) }));
    await ask();
    expect((await ask({ "if-modified-since": date(-100) })).status).toBe(304);
    expect((await ask({ "if-modified-since": date(-101) })).status).toBe(200);
    expect((await ask({ "if-modified-since": "some day" })).status).toBe(200);
  });

  test("the caller's If-Modified-Since is compared with Date where there is no Last-Modified", async () => {
    const { ask } = resource(ok({ "Cache-Control": "max-age=60", Date: date(-10) }));
    await ask();
    expect((await ask({ "if-modified-since": date(-10) })).status).toBe(304);
    expect((await ask({ "if-modified-since": date(-10).toLowerCase() })).status).toBe(304);
    expect((await ask({ "if-modified-since": date(-11) })).status).toBe(200);
  });

  test("the caller's condition does not keep the cache empty: the backend is asked for the whole", async () => {
    const { ask } = resource((request) =>
      request.headers["if-none-match"] === undefined ? ok({ "Cache-Control": "max-age=60", ETag: '"v1"' }) : { status: 304 },
    );
    expect(await ask({ "if-none-match": '"old"' })).toMatchObject({ status: 200, body: "body 1" });
    expect(await ask()).toMatchObject({ asked: false, body: "body 1" });
    // A request with other conditions than these goes by the cache.
    expect((await ask({ "if-match": '"v1"' })).asked).toBe(true);
  });

  test("a caller who has what the backend confirms gets 304 as well", async () => {
    const { ask } = resource(tagged('"v1"'));
    await ask();
    pass(61);
    expect(await ask({ "if-none-match": '"v1"' })).toMatchObject({ status: 304, asked: true });
  });
});

describe("HEAD (§4, §4.3.5)", () => {
  test("is answered by what was kept of a GET, with its length", async () => {
    const { ask } = resource(cc("max-age=60"));
    await ask();
    const { status, body, headers, asked } = await ask({}, "HEAD");
    expect([status, body, headers.get("content-length"), asked]).toEqual([200, "", "6", false]);
  });

  test("is kept for later HEADs, and never given for a GET", async () => {
    const { ask } = resource(cc("max-age=60"));
    expect((await ask({}, "HEAD")).asked).toBe(true);
    expect(await ask({}, "HEAD")).toMatchObject({ asked: false, body: "" });
    expect(await ask()).toMatchObject({ asked: true, body: "body 2" });
  });
});

describe("HEAD beside GET", () => {
  test("after a stale GET is told so, and what it brings is kept for HEADs beside it", async () => {
    const { ask } = resource(ok({ "Cache-Control": "max-age=60", ETag: '"v1"' }));
    await ask();
    pass(61);
    expect(await ask({}, "HEAD")).toMatchObject({ asked: true, said: "sluice; fwd=stale; fwd-status=200; stored" });
    expect(await ask({}, "HEAD")).toMatchObject({ asked: false });
  });

  test("that tells of another version makes the GET's go", async () => {
    const { ask } = resource((_request, n) => ok({ "Cache-Control": "max-age=60", ETag: n === 1 ? '"v1"' : '"v2"' }));
    await ask();
    expect((await ask({ "cache-control": "no-cache" }, "HEAD")).said).toContain("fwd=request");
    expect(await ask()).toMatchObject({ asked: true, body: "body 3" });
  });
});

describe("changes (§4.4)", () => {
  test.each(["POST", "PUT", "PATCH", "DELETE", "MOVE"])("a %s that is answered well makes the URI's kept responses go", async (method) => {
    const { ask } = resource((request) => (request.method === "GET" ? cc("max-age=60") : { status: 200 }));
    await ask();
    expect((await ask()).asked).toBe(false);
    await ask({}, method);
    expect((await ask()).asked).toBe(true);
  });

  test("one that is refused changes nothing, nor does a safe method", async () => {
    const { ask } = resource((request) => (request.method === "GET" ? cc("max-age=60") : { status: 403 }));
    await ask();
    await ask({}, "POST");
    await ask({}, "OPTIONS");
    expect((await ask()).asked).toBe(false);
  });

  test("makes those go that Location and Content-Location name, on this host alone", async () => {
    const [here, there, far] = [resource(cc("max-age=60")), resource(cc("max-age=60")), resource(cc("max-age=60"))];
    const changing = resource(() => ({ status: 201, headers: { Location: here.path, "Content-Location": gateway.url + there.path } }));
    const foreign = resource(() => ({ status: 201, headers: { Location: `http://elsewhere.example${far.path}` } }));
    for (const each of [here, there, far]) await each.ask();
    await changing.ask({}, "POST");
    await foreign.ask({}, "POST");
    expect([(await here.ask()).asked, (await there.ask()).asked, (await far.ask()).asked]).toEqual([true, true, false]);
  });

  test("another query is another URI; what was fetched before a change is not kept after it", async () => {
    const { ask } = resource((request) => (request.method === "GET" ? cc("max-age=60") : { status: 200 }));
    await ask({}, "GET", "?id=1");
    await ask({}, "GET", "?id=2");
    await ask({}, "PUT", "?id=1");
    expect([(await ask({}, "GET", "?id=1")).asked, (await ask({}, "GET", "?id=2")).asked]).toEqual([true, false]);

    const gate = Promise.withResolvers<void>();
    const slow = resource(async (request) => {
      if (request.method === "GET") await gate.promise;
      return request.method === "GET" ? cc("max-age=60") : { status: 200 };
    });
    const early = slow.ask();
    while (slow.asked() === 0) await Bun.sleep(1);
    await slow.ask({}, "PUT");
    gate.resolve();
    await early;
    expect((await slow.ask()).asked).toBe(true);
  });
});

test("what varies by Authorization: a field that names a key's id is not the caller with that key", async () => {
  const { ask } = resource(({ headers }, n) => ({
    status: 200,
    headers: { "Cache-Control": "public, max-age=60", Vary: "Authorization" },
    body: `body ${n} for ${headers["x-consumer-id"] ?? "a stranger"}`,
  }));
  const bearer = { authorization: `Bearer ${A["x-api-key"]}` };
  expect((await ask(bearer)).body).toBe("body 1 for a");
  const listed = (await (await gateway.admin("GET", "/admin/keys?consumer=a")).json()) as { items: { id: string }[] };
  const id = listed.items[0]?.id;
  expect(id).toBeString();
  for (const authorization of [`key ${id}`, `Key ${id}`, String(id)]) {
    const { body, asked } = await ask({ authorization });
    expect([authorization, body, asked]).toEqual([authorization, expect.stringContaining("for a stranger"), true]);
  }
  // Nor does what a stranger was answered become that caller's.
  expect((await ask(bearer)).body).toBe("body 1 for a");
});

describe("POST (RFC 9110 §9.3.3)", () => {
  const posted = (headers: (path: string) => Record<string, string>, route = "plain") => {
    const it: ReturnType<typeof resource> = resource(
      ({ method }, n) => ({ status: 200, headers: method === "POST" ? headers(it.path) : {}, body: `${method} ${n}` }),
      route,
    );
    return it;
  };
  const rows: [sentence: string, headers: (path: string) => Record<string, string>, kept: boolean][] = [
    ["with a lifetime and its own URI as Content-Location", (path) => ({ "Cache-Control": "max-age=60", "Content-Location": path }), true],
    ["with the whole URI", (path) => ({ "Cache-Control": "max-age=60", "Content-Location": gateway.url + path }), true],
    ["of another URI", (path) => ({ "Cache-Control": "max-age=60", "Content-Location": `${path}x` }), false],
    ["of another host", (path) => ({ "Cache-Control": "max-age=60", "Content-Location": `http://elsewhere.example${path}` }), false],
    ["without Content-Location", () => ({ "Cache-Control": "max-age=60" }), false],
    ["without a lifetime of its own", (path) => ({ "Content-Location": path, "Cache-Control": "public" }), false],
    ["that is private", (path) => ({ "Cache-Control": "max-age=60, private", "Content-Location": path }), false],
  ];
  test.each(rows)("%s", async (_sentence, headers, kept) => {
    const { ask } = posted(headers);
    await ask();
    expect((await ask({}, "POST")).said).toBe(kept ? "sluice; fwd=method; fwd-status=200; stored" : "sluice; fwd=bypass");
    const { body, asked } = await ask();
    expect([body, asked]).toEqual(kept ? ["POST 2", false] : ["GET 3", true]);
    // A POST itself is never answered by what is kept.
    expect((await ask({}, "POST")).asked).toBe(true);
  });

  test("the route's ttl is no lifetime of a POST's answer; one to a caller with a key is kept as a GET's is", async () => {
    const silent = posted((path) => ({ "Content-Location": path }), "ttl");
    await silent.ask({}, "POST");
    expect((await silent.ask()).asked).toBe(true);
    const own = posted((path) => ({ "Content-Location": path, "Cache-Control": "max-age=60" }), "own");
    await own.ask(A, "POST");
    expect([(await own.ask(A)).body, (await own.ask(B)).body]).toEqual(["POST 1", "GET 2"]);
  });

  test("one whose query held what the key leaves out is not kept, and still makes go what it changed", async () => {
    const it: ReturnType<typeof resource> = resource(
      ({ method, path }, n) => ({
        status: 200,
        headers: { "Cache-Control": "max-age=60", ...(method === "POST" ? { "Content-Location": path } : {}) },
        body: `${method} ${n} ${path.slice(it.path.length)}`,
      }),
      "keyed",
    );
    expect((await it.ask({}, "GET", "?page=1")).body).toBe("GET 1 ?page=1");
    // It goes to the backend as it was sent: its answer is its caller's own.
    const posted = await it.ask({}, "POST", "?page=1&evil=x");
    expect([posted.body, posted.said]).toEqual(["POST 2 ?page=1&evil=x", "sluice; fwd=bypass"]);
    expect((await it.ask({}, "GET", "?page=1")).body).toBe("GET 3 ?page=1");
    for (const query of ["?evil=x&page=1", "?page=1&", "?page=1&Page=2", "?&page=1"]) {
      expect([query, (await it.ask({}, "POST", query)).said]).toEqual([query, "sluice; fwd=bypass"]);
      expect([query, (await it.ask({}, "GET", "?page=1")).body]).toEqual([query, expect.stringMatching(/^GET \d+ \?page=1$/)]);
    }
    await it.ask({}, "POST", "?evil=x");
    expect((await it.ask({}, "GET")).body).toMatch(/^GET \d+ $/);
    // What the key holds whole is kept.
    const plain = await it.ask({}, "POST", "?page=1&page=2");
    expect(plain.said).toBe("sluice; fwd=method; fwd-status=200; stored");
    const got = await it.ask({}, "GET", "?page=1&page=2&evil=x");
    expect([got.body, got.asked]).toEqual([plain.body, false]);
  });
});

describe("stale ones (§4.2.4, RFC 5861)", () => {
  test("stale-while-revalidate: given at once, while one request fetches a new one", async () => {
    const gate = Promise.withResolvers<void>();
    const { ask, asked } = resource(async (_request, n) => {
      if (n > 1) await gate.promise;
      return { status: 200, headers: { "Cache-Control": "max-age=60, stale-while-revalidate=30" }, body: `body ${n}` };
    });
    await ask();
    pass(80);
    const answers = await Promise.all(Array.from({ length: 20 }, () => ask()));
    expect(new Set(answers.map(({ body }) => body))).toEqual(new Set(["body 1"]));
    expect(answers[0]?.said).toBe("sluice; hit; ttl=-20");
    gate.resolve();
    while ((await ask()).body === "body 1") await Bun.sleep(1);
    expect(await ask()).toMatchObject({ body: "body 2", asked: false });
    expect(asked()).toBe(2);
  });

  test("stale-while-revalidate: not after its span, and not against must-revalidate", async () => {
    expect(await isKept(cc("max-age=60, stale-while-revalidate=30"), 91)).toBe(false);
    expect(await isKept(cc("max-age=60, stale-while-revalidate=30, must-revalidate"), 80)).toBe(false);
  });

  const failing = (control: string, failure: Deed) => resource((_request, n) => (n === 1 ? cc(control) : failure));

  test.each([
    ["a 500", { status: 500 }],
    ["a 503", { status: 503 }],
    ["a broken connection", "reset"],
  ] as [string, Deed][])("stale-if-error: given in the place of %s", async (_what, failure) => {
    const { ask } = failing("max-age=60, stale-if-error=300", failure);
    await ask();
    pass(100);
    const { status, body, said, asked } = await ask();
    expect([status, body, asked]).toEqual([200, "body 1", true]);
    expect(said).toContain("detail=stale-if-error");
  });

  test("stale-if-error: not after its span, not for a 404, not against must-revalidate, and the request may ask for it", async () => {
    const cases: [string, Deed, number, Record<string, string>, number][] = [
      ["max-age=60, stale-if-error=30", { status: 503 }, 100, {}, 503],
      ["max-age=60, stale-if-error=300", { status: 404 }, 100, {}, 404],
      ["max-age=60, stale-if-error=300, must-revalidate", { status: 503 }, 100, {}, 503],
      ["max-age=60", { status: 503 }, 100, { "cache-control": "stale-if-error=300" }, 200],
      ["max-age=60", { status: 503 }, 100, {}, 503],
    ];
    for (const [control, failure, wait, request, status] of cases) {
      const { ask } = failing(control, failure);
      await ask();
      pass(wait);
      expect([control, (await ask(request)).status]).toEqual([control, status]);
    }
  });
});

describe("many at once", () => {
  test("1,000 requests for one missing URI cause one request to the backend", async () => {
    const collapsed = async () => ((await (await gateway.admin("GET", "/admin/cache")).json()) as { collapsed: number }).collapsed;
    const before = await collapsed();
    const gate = Promise.withResolvers<void>();
    const { path, asked } = resource(async () => {
      await gate.promise;
      return { status: 200, headers: { "Cache-Control": "max-age=60" }, body: "the one" };
    });
    // `fetch` would not have more than 256 under way.
    const { port } = new URL(gateway.url);
    const waiting = Array.from({ length: 1000 }, () =>
      exchange(Number(port), `GET ${path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n`),
    );
    while (asked() === 0) await Bun.sleep(1);
    while ((await collapsed()) < before + 999) await Bun.sleep(5);
    gate.resolve();
    const answers = await Promise.all(waiting);
    expect(answers.filter((text) => text.endsWith("\r\n\r\nthe one")).length).toBe(1000);
    expect(answers.filter((text) => text.includes("Cache-Status: sluice; fwd=uri-miss; collapsed\r\n")).length).toBe(999);
    expect(asked()).toBe(1);
  });

  test("each variant is fetched once, also when nobody knows yet that there are variants", async () => {
    const { ask, asked } = resource(async (request) => {
      await Bun.sleep(10);
      return { status: 200, headers: { "Cache-Control": "max-age=60", Vary: "Accept" }, body: request.headers.accept ?? "" };
    });
    const answers = await Promise.all(Array.from({ length: 60 }, (_, i) => ask({ accept: `type/${i % 3}` })));
    for (const [i, { body }] of answers.entries()) expect(body).toBe(`type/${i % 3}`);
    expect(asked()).toBe(3);
  });

  test("what can't be kept is not waited for twice, and a fetch that fails leaves nobody without an answer", async () => {
    const { ask, asked } = resource(async () => {
      await Bun.sleep(5);
      return cc("private");
    });
    await Promise.all(Array.from({ length: 20 }, () => ask()));
    expect(asked()).toBe(20);
    const broken = resource(async () => {
      await Bun.sleep(5);
      return "reset" as const;
    });
    const answers = await Promise.all(Array.from({ length: 4 }, () => broken.ask()));
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([502]));
  });
});

describe("the admin API", () => {
  test("counts what the cache does, and forgets by route and prefix", async () => {
    const statistics = async () => (await (await gateway.admin("GET", "/admin/cache")).json()) as Record<string, number>;
    const [one, two] = [resource(cc("max-age=60")), resource(ok(), "ttl")];
    const before = await statistics();
    for (const each of [one, two]) for (let i = 0; i < 3; i++) await each.ask();
    const after = await statistics();
    expect([
      (after.hits ?? 0) - (before.hits ?? 0),
      (after.misses ?? 0) - (before.misses ?? 0),
      (after.stored ?? 0) - (before.stored ?? 0),
    ]).toEqual([4, 2, 2]);
    expect(after.size).toBeGreaterThan(before.size ?? 0);
    const purge = async (query: string) => (await (await gateway.admin("DELETE", `/admin/cache${query}`)).json()) as { purged: number };
    expect(await purge(`?route=ttl&prefix=${two.path}`)).toEqual({ purged: 1 });
    expect([(await one.ask()).asked, (await two.ask()).asked]).toEqual([false, true]);
    expect((await purge("?route=plain")).purged).toBeGreaterThan(1);
    expect((await one.ask()).asked).toBe(true);
    await purge("");
    expect(await statistics()).toMatchObject({ entries: 0, size: 0 });
    expect((await gateway.admin("DELETE", "/admin/cache?prefix=x")).status).toBe(422);
  });
});

test("a route without a cache says nothing of one", async () => {
  const { ask } = resource(cc("max-age=60"), "uncached");
  await ask();
  expect(await ask()).toMatchObject({ asked: true, said: "" });
});
