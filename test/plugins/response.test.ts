import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { servingPlugins } from "../support/plugins.ts";
import { RawConnection } from "../support/raw.ts";

const OUTER = `
import type { Plugin } from "sluice";
export default {
  name: "outer",
  response(response, context) {
    response.headers.append("X-Order", "outer");
    if (context.state === undefined) throw new Error("no state");
  },
} satisfies Plugin;
`;

const INNER = `
import type { Plugin } from "sluice";
let calls = 0;
export default {
  name: "inner",
  request(_, context) {
    context.state.began = true;
  },
  async response(response, context) {
    calls++;
    response.headers.append("X-Order", "inner");
    response.headers.set("X-Call", String(calls));
    response.headers.set("Content-Length", "1");
    response.headers.set("Content-Encoding", "none");
    const path = response.headers.get("x-path");
    switch (path) {
      case "/another":
        return new Response("another", { status: 203, statusText: "Mine", headers: response.headers });
      case "/json":
      case "/gzip": {
        const { secret, ...rest } = (await response.json()) as { secret: string };
        return Response.json({ ...rest, was: response.status, ok: response.ok, known: typeof secret }, { headers: response.headers });
      }
      case "/read":
        await response.text();
        return undefined;
      case "/upper":
        return new Response(
          response.body?.pipeThrough(new TransformStream({ transform: (part, to) => to.enqueue(Buffer.from(Buffer.from(part).toString().toUpperCase())) })),
          response,
        );
      case "/taken":
        await response.body?.getReader().read();
        return undefined;
      case "/throws":
        throw new Error("not today");
      case "/hangs":
        await new Promise(() => {});
        return undefined;
      case "/nonsense":
        return "text" as never;
      case "/endless":
        context.log.info("reads", {});
        await response.text();
        return undefined;
      case "/twice":
        await response.body?.getReader().read();
        return new Response(await response.text().catch((error) => error.message));
      case "/same":
        return response;
      case "/nobody":
        return response.body === null ? new Response(null, { status: 204 }) : undefined;
      default:
        return undefined;
    }
  },
} satisfies Plugin;
`;

let gateway: Awaited<ReturnType<typeof servingPlugins>>;
let asked = 0;
let goOn = Promise.withResolvers<void>();
const behind = Bun.serve({
  hostname: "127.0.0.1",
  port: 0,
  fetch: (request) => {
    asked++;
    const { pathname } = new URL(request.url);
    const headers = { "x-path": pathname, "content-type": "text/plain" };
    switch (pathname) {
      case "/kept":
        return new Response("kept", { headers: { ...headers, "cache-control": "max-age=60", "x-order": "backend" } });
      case "/json":
        return Response.json({ secret: "s", name: "n" }, { headers: { ...headers, "content-type": "application/json" } });
      case "/gzip":
        return new Response(Bun.gzipSync(JSON.stringify({ secret: "s", name: "n" })), {
          headers: { ...headers, "content-encoding": "gzip" },
        });
      case "/large":
        return new Response(new Uint8Array(2_000_000), { headers: { ...headers, "x-path": "/read" } });
      case "/nobody":
        return new Response(null, { status: 204, headers });
      case "/endless":
        return new Response(new ReadableStream({ start: (controller) => controller.enqueue("begins;") }), { headers });
      case "/events":
        return new Response(
          new ReadableStream({
            start: async (controller) => {
              controller.enqueue("first;");
              await goOn.promise;
              controller.enqueue("second;");
              controller.close();
            },
          }),
          { headers },
        );
      default:
        return new Response(`body of ${pathname}`, { headers });
    }
  },
});

beforeAll(async () => {
  const own = [{ file: "inner.ts", timeout: "100ms" }];
  const to = { upstream: behind.url.origin, auth: "none", retry: null };
  gateway = await servingPlugins(
    { "outer.ts": OUTER, "inner.ts": INNER },
    {
      plugins: [{ file: "outer.ts" }],
      tiers: { anonymous: { limits: [] } },
      routes: [
        { path: "/r", ...to, plugins: own },
        { path: "/cached", ...to, cache: { ttl: "60s" }, plugins: own },
        { path: "/skips", ...to, plugins: [{ ...own[0], onError: "skip" }] },
        { path: "/limited", ...to, limits: [{ algorithm: "fixed-window", limit: 1, window: "1h" }] },
      ],
    },
  );
});
afterAll(async () => {
  await gateway.stop();
  await behind.stop(true);
});

const ask = (path: string, init: RequestInit = {}) => fetch(gateway.url + path, init);

describe("a response hook", () => {
  test("is asked in the reverse order of the request's, and changes headers alone", async () => {
    const answer = await ask("/r/x");
    expect(answer.headers.get("x-order")).toBe("inner, outer");
    expect(answer.headers.get("content-encoding")).toBeNull();
    expect(answer.headers.get("content-length")).toBe("10");
    expect(await answer.text()).toBe("body of /x");
  });

  test("gives another Response, of which the next hook sees the headers", async () => {
    const answer = await ask("/r/another");
    expect([answer.status, answer.statusText, await answer.text()]).toEqual([203, "Mine", "another"]);
    expect(answer.headers.get("x-order")).toBe("inner, outer");
    expect(answer.headers.get("content-length")).toBe("7");
  });

  test.each(["/r/json", "/r/gzip"])("%s: reads the body, decoded, and gives one made of it", async (path) => {
    const answer = await ask(path);
    expect(answer.headers.get("content-encoding")).toBeNull();
    expect(await answer.json()).toEqual({ name: "n", was: 200, ok: true, known: "string" });
  });

  test("that only reads the body leaves it as it was", async () => {
    const answer = await ask("/r/read");
    expect(await answer.text()).toBe("body of /read");
  });

  test("reads the body as a stream or as a whole", async () => {
    expect(await (await ask("/r/twice")).text()).toBe("the response's body is read as a stream already");
  });

  test("whose caller leaves while it reads has not failed", async () => {
    const leaving = await RawConnection.open(gateway.port);
    leaving.write("GET /r/endless HTTP/1.1\r\nHost: gateway.test\r\nX-Request-ID: left-early\r\n\r\n");
    const line = async (wanted: string) =>
      (await gateway.logged()).find(({ msg, requestId }) => msg === wanted && requestId === "left-early");
    while ((await line("reads")) === undefined) await Bun.sleep(5);
    leaving.close();
    while ((await line("request")) === undefined) await Bun.sleep(5);
    // What follows the end of a request has been done by then.
    await (await ask("/r/x")).text();
    expect(await line("a plug-in failed")).toBeUndefined();
  });

  test("makes a stream of the stream, piece by piece", async () => {
    expect(await (await ask("/r/upper")).text()).toBe("BODY OF /UPPER");
  });

  test("may give back what it was shown, and sees that there is no body", async () => {
    expect(await (await ask("/r/same")).text()).toBe("body of /same");
    expect((await ask("/r/nobody")).status).toBe(204);
  });

  test("lets a stream go by as it comes", async () => {
    goOn = Promise.withResolvers();
    const answer = await ask("/r/events");
    const reader = answer.body?.getReader();
    const first = await reader?.read();
    expect(Buffer.from(first?.value ?? []).toString()).toBe("first;");
    goOn.resolve();
    expect(Buffer.from((await reader?.read())?.value ?? []).toString()).toBe("second;");
  });

  test("runs for each caller, hits included; the cache keeps what the backend said", async () => {
    const before = asked;
    const answers = [await ask("/cached/kept"), await ask("/cached/kept"), await ask("/cached/kept")];
    expect(asked - before).toBe(1);
    expect(answers.map(({ headers }) => headers.get("x-order"))).toEqual(answers.map(() => "backend, inner, outer"));
    const calls = answers.map(({ headers }) => Number(headers.get("x-call")));
    expect(calls).toEqual([0, 1, 2].map((more) => Number(calls[0]) + more));
    expect(answers.map(({ headers }) => headers.get("cache-status"))).toEqual([
      expect.stringContaining("stored"),
      expect.stringContaining("hit"),
      expect.stringContaining("hit"),
    ]);
    expect(answers[2]?.headers.get("age")).toMatch(/^\d+$/);
    const kept = await ask("/cached/kept", { headers: { "if-none-match": "x" } });
    expect(await kept.text()).toBe("kept");
  });

  test("does not see what Sluice answers by itself", async () => {
    expect((await ask("/limited/a")).headers.get("x-order")).toBe("outer");
    const refused = await ask("/limited/a");
    expect(refused.status).toBe(429);
    expect(refused.headers.get("x-order")).toBeNull();
  });

  test.each([
    ["/throws", "not today"],
    ["/hangs", "it did not answer within 100 ms"],
    ["/nonsense", 'response gave "text" in place of a Response, or nothing'],
    ["/large", "the response's body is larger than the 1048576 bytes that a plug-in reads"],
  ])("%s: fails with 500, or is skipped as if it were not there", async (path, why) => {
    const failed = await ask(`/r${path}`, { headers: { "X-Request-ID": `fails${path.slice(1)}` } });
    expect(failed.status).toBe(500);
    expect(await failed.json()).toMatchObject({ code: "pluginFailed" });
    expect(failed.headers.get("x-order")).toBeNull();
    const lines = await gateway.logged();
    expect(lines.find(({ requestId, plugin }) => requestId === `fails${path.slice(1)}` && plugin === "inner")?.error).toContain(why);

    const skipped = await ask(`/skips${path}`);
    expect(skipped.status).toBe(200);
    expect([skipped.headers.get("x-order"), skipped.headers.get("x-call")]).toEqual(["outer", null]);
    expect((await skipped.bytes()).length).toBe(path === "/large" ? 2_000_000 : `body of ${path}`.length);
  });

  test("that reads the stream away and gives nothing fails, also where it would be skipped", async () => {
    for (const path of ["/r/taken", "/skips/taken"]) {
      const answer = await ask(path);
      expect(answer.status).toBe(500);
      expect(await answer.json()).toMatchObject({ code: "pluginFailed" });
    }
  });
});
