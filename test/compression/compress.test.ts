import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { brotliDecompressSync, gunzipSync, zstdDecompressSync } from "node:zlib";
import { exchange, RawConnection } from "../support/raw.ts";
import { serving } from "../support/serving.ts";
import { until } from "../support/until.ts";

const LINE = `${JSON.stringify({ name: "a user", tags: ["one", "two"], note: "what repeats can be written in fewer bytes" })}\n`;
const TEXT = LINE.repeat(40);
const LARGE = LINE.repeat(20_000);

const decode: Record<string, (bytes: Uint8Array) => Buffer> = { gzip: gunzipSync, br: brotliDecompressSync, zstd: zstdDecompressSync };

/** What the backend has sent of /endless, and whether it was given up. */
const endless = { sent: 0, isGivenUp: false };
const release = { now: () => {} };

function answer(request: Request): Response {
  const { pathname, searchParams } = new URL(request.url);
  const headers: Record<string, string> = { "content-type": "application/json", ...Object.fromEntries(searchParams) };
  switch (pathname) {
    case "/large":
      return new Response(LARGE, { headers });
    case "/streamed":
      return new Response(
        new ReadableStream({
          start: (controller) => {
            for (let at = 0; at < LARGE.length; at += 50_000) controller.enqueue(new TextEncoder().encode(LARGE.slice(at, at + 50_000)));
            controller.close();
          },
        }),
        { headers },
      );
    case "/slow":
      return new Response(
        new ReadableStream({
          start: (controller) => {
            controller.enqueue(new TextEncoder().encode("first\n"));
            release.now = () => {
              controller.enqueue(new TextEncoder().encode("second\n"));
              controller.close();
            };
          },
        }),
        { headers },
      );
    case "/endless":
      return new Response(
        new ReadableStream({
          pull: (controller) => {
            // What can't be made smaller: so that it fills whatever lies between.
            const bytes = crypto.getRandomValues(new Uint8Array(65_536));
            endless.sent += bytes.length;
            controller.enqueue(bytes);
          },
          cancel: () => {
            endless.isGivenUp = true;
          },
        }),
        { headers },
      );
    case "/small":
      return new Response("{}", { headers });
    case "/part":
      return new Response(TEXT, { status: 206, headers: { ...headers, "content-range": `bytes 0-${TEXT.length - 1}/${TEXT.length}` } });
    case "/tagged":
      return request.headers.get("if-none-match")?.includes('"one"') === true
        ? new Response(null, { status: 304, headers: { etag: '"one"' } })
        : new Response(request.method === "HEAD" ? null : TEXT, {
            headers: { ...headers, etag: '"one"', "accept-ranges": "bytes", "content-length": String(TEXT.length) },
          });
    case "/lost":
      return new Response("gone ".repeat(1000), { status: 404, headers: { "content-type": "text/plain; charset=utf-8" } });
    default:
      return new Response(TEXT, { headers });
  }
}

let behind: ReturnType<typeof Bun.serve>;
let gateway: ReturnType<typeof serving>;

beforeAll(() => {
  behind = Bun.serve({ hostname: "127.0.0.1", port: 0, development: false, idleTimeout: 0, fetch: answer });
  const route = { upstream: `http://127.0.0.1:${behind.port}`, auth: "none" };
  gateway = serving({
    tiers: { anonymous: { limits: [] } },
    routes: [
      { ...route, path: "/c", compress: {} },
      { ...route, path: "/gz", compress: { encodings: ["gzip"], types: ["image/*"], minSize: "0b" } },
      { ...route, path: "/kept", compress: {}, cache: { ttl: "1h" } },
      { ...route, path: "/off" },
    ],
  });
});
afterAll(async () => {
  await gateway.stop();
  await behind.stop(true);
});

const ask = (path: string, accept: string | null = "gzip, br, zstd", init: RequestInit = {}): Promise<Response> =>
  fetch(gateway.url + path, {
    ...init,
    decompress: false,
    headers: { "accept-encoding": accept ?? "", ...(init.headers as Record<string, string> | undefined) },
  });
const codingOf = (response: Response): string | null => response.headers.get("content-encoding");
/** A query by which the backend answers with this field. */
const saying = (name: string, value: string): string => `?${name}=${encodeURIComponent(value)}`;

describe("a route with compress", () => {
  test("gives each caller the coding that it takes, whole answers and streams alike", async () => {
    for (const [path, text] of [
      ["/c/whole", TEXT],
      ["/c/large", LARGE],
      ["/c/streamed", LARGE],
      ["/c/lost", "gone ".repeat(1000)],
    ] as const)
      for (const coding of ["zstd", "br", "gzip"] as const) {
        const response = await ask(path, coding);
        const bytes = await response.bytes();
        expect([path, codingOf(response), response.headers.get("vary")]).toEqual([path, coding, "Accept-Encoding"]);
        expect(bytes.length).toBeLessThan(text.length / 4);
        expect(decode[coding]?.(bytes).toString() === text).toBe(true);
      }
    expect(codingOf(await ask("/c/whole"))).toBe("zstd");
  });

  test("leaves answers whole for who takes no coding, and says that others get others", async () => {
    for (const accept of [null, "identity", "gzip;q=0", "deflate"]) {
      const response = await ask("/c/whole", accept);
      expect([codingOf(response), response.headers.get("vary"), await response.text()]).toEqual([null, "Accept-Encoding", TEXT]);
    }
    const asIs = await ask("/c/whole", "gzip", { headers: { "cache-control": "no-transform" } });
    expect([codingOf(asIs), await asIs.text()]).toEqual([null, TEXT]);
  });

  test("never touches events, parts, what is encoded, small, or not to be transformed, and other types", async () => {
    for (const path of [
      `/c/whole${saying("content-type", "text/event-stream")}`,
      `/c/whole${saying("content-type", "application/grpc+json")}`,
      `/c/whole${saying("content-type", "image/png")}`,
      `/c/whole${saying("cache-control", "public, no-transform")}`,
      `/c/whole${saying("content-digest", "sha-256=:AAAA:")}`,
      "/c/part",
      "/c/small",
      "/off/whole",
    ]) {
      const response = await ask(path);
      expect([path, codingOf(response), response.headers.get("vary")]).toEqual([path, null, null]);
      await response.bytes();
    }
    const encoded = await ask(`/c/whole${saying("content-encoding", "br")}`);
    expect([codingOf(encoded), await encoded.text()]).toEqual(["br", TEXT]);
  });

  test("compresses the types, sizes and codings that it names", async () => {
    expect(codingOf(await ask(`/gz/small${saying("content-type", "image/bmp")}`))).toBeNull();
    expect(codingOf(await ask(`/gz/whole${saying("content-type", "image/bmp")}`))).toBe("gzip");
    expect(codingOf(await ask("/gz/whole"))).toBeNull();
  });

  test("weakens the tag, with which the caller's question is answered, and offers no parts", async () => {
    const first = await ask("/c/tagged");
    expect([codingOf(first), first.headers.get("etag"), first.headers.get("accept-ranges")]).toEqual(["zstd", 'W/"one"', null]);
    const again = await ask("/c/tagged", "zstd", { headers: { "if-none-match": 'W/"one"' } });
    expect([again.status, again.headers.get("etag"), again.headers.get("vary")]).toEqual([304, 'W/"one"', "Accept-Encoding"]);
    const whole = await ask("/c/tagged", null);
    expect([codingOf(whole), whole.headers.get("etag"), whole.headers.get("accept-ranges")]).toEqual([null, '"one"', "bytes"]);
    const strong = await ask("/c/tagged", null, { headers: { "if-none-match": '"one"' } });
    expect([strong.status, strong.headers.get("etag")]).toEqual([304, '"one"']);
    const head = await ask("/c/tagged", "zstd", { method: "HEAD" });
    expect([codingOf(head), head.headers.get("etag"), head.headers.get("content-length")]).toEqual(["zstd", 'W/"one"', null]);
  });

  test("keeps whole answers in its cache, for all codings", async () => {
    for (const [accept, coding, cache] of [
      ["gzip", "gzip", "fwd=uri-miss"],
      ["br", "br", "hit"],
      ["", null, "hit"],
      ["zstd", "zstd", "hit"],
    ] as const) {
      const response = await ask("/kept/whole", accept);
      expect(response.headers.get("cache-status")).toContain(cache);
      const bytes = await response.bytes();
      expect(codingOf(response)).toBe(coding);
      expect((coding === null ? Buffer.from(bytes) : decode[coding]?.(bytes))?.toString() === TEXT).toBe(true);
    }
    const tagged = await ask("/kept/tagged", "gzip");
    expect(tagged.headers.get("etag")).toBe('W/"one"');
    const again = await ask("/kept/tagged", "gzip", { headers: { "if-none-match": 'W/"one"' } });
    expect([again.status, again.headers.get("etag"), again.headers.get("cache-status")]).toEqual([
      304,
      'W/"one"',
      expect.stringContaining("hit"),
    ]);
  });

  test("passes on what a slow stream has brought, before more comes", async () => {
    for (const coding of ["gzip", "br", "zstd"] as const) {
      const response = await fetch(`${gateway.url}/c/slow`, { headers: { "accept-encoding": coding } });
      const reader = response.body?.getReader();
      expect(new TextDecoder().decode((await reader?.read())?.value)).toBe("first\n");
      release.now();
      expect(new TextDecoder().decode((await reader?.read())?.value)).toBe("second\n");
      expect((await reader?.read())?.done).toBe(true);
    }
  });

  test("slows a backend whose caller reads slowly, and gives it up when the caller leaves", async () => {
    const client = await RawConnection.open(gateway.port);
    client.socket.pause();
    client.write("GET /c/endless HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\n\r\n");
    await until(() => endless.sent > 0);
    // It comes to a stand: what lies between is full.
    let before = -1;
    await until(async () => {
      const isSame = endless.sent === before;
      before = endless.sent;
      await Bun.sleep(300);
      return isSame && endless.sent === before;
    });
    expect(before).toBeLessThan(32_000_000);
    expect(endless.isGivenUp).toBe(false);
    client.close();
    await until(() => endless.isGivenUp);
  });

  test("ends the connection of a caller of HTTP/1.0 behind the answer", async () => {
    const all = await exchange(gateway.port, "GET /c/streamed HTTP/1.0\r\nAccept-Encoding: gzip\r\n\r\n");
    const [head = "", ...rest] = all.split("\r\n\r\n");
    expect(head).toContain("Content-Encoding: gzip");
    expect(gunzipSync(Buffer.from(rest.join("\r\n\r\n"), "latin1")).toString() === LARGE).toBe(true);
  });

  test("refuses header rules that contradict it", () => {
    const made = (response: object) =>
      serving({ tiers: { anonymous: { limits: [] } }, routes: [{ path: "/", upstream: "http://h", compress: {}, headers: { response } }] });
    for (const response of [{ remove: ["Vary"] }, { set: { "Content-Encoding": "br" } }])
      expect(() => made(response)).toThrow("contradicts compress");
  });
});
