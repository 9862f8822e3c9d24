import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { createHash } from "node:crypto";
import { brotliCompressSync, deflateRawSync, deflateSync, gzipSync, zstdCompressSync } from "node:zlib";
import { backend } from "../support/backend.ts";
import { servingPlugins } from "../support/plugins.ts";
import { RawConnection } from "../support/raw.ts";

const READER = `
import type { Plugin } from "sluice";
export default {
  name: "reader",
  async request(request, context) {
    const how = request.headers.get("X-How") ?? "";
    const tell = (what: unknown) => request.headers.set("X-Read", JSON.stringify(what));
    switch (how) {
      case "json": tell(await request.json()); break;
      case "text": tell((await request.text()).length); break;
      case "bytes": {
        const bytes = await request.bytes();
        tell(bytes.length);
        bytes.fill(0);
        break;
      }
      case "form": tell(Object.fromEntries(await request.formData())); break;
      case "blob": { const blob = await request.blob(); tell([blob.size, blob.type]); break; }
      case "stream": { let size = 0; for await (const part of request.body ?? []) size += part.length; tell(size); break; }
      case "caught": tell(await request.text().catch((error) => error.message)); break;
      case "begun": void request.text().catch(() => {}); break;
      case "answers": return new Response(String((await request.text()).length));
      case "hangs": await new Promise(() => {}); break;
      case "clone": {
        const own = request.clone();
        tell([await own.json(), own.headers.get("content-encoding"), request.headers.get("content-encoding")]);
        break;
      }
      case "late": context.state.late = request; break;
      case "nothing": tell(request.body === null); break;
    }
    return undefined;
  },
  async response(response, context) {
    const { late } = context.state as { late?: Request };
    if (late === undefined) return undefined;
    return new Response(await late.text().catch((error) => error.message));
  },
  ended(summary, context) { context.log.info("ended", { status: summary.status }); },
} satisfies Plugin;
`;
const AGAIN = `
import type { Plugin } from "sluice";
export default {
  name: "again",
  async admit(request) {
    if (request.headers.get("X-Again") !== null) request.headers.set("X-Read-Again", String((await request.arrayBuffer()).byteLength));
  },
} satisfies Plugin;
`;

let gateway: Awaited<ReturnType<typeof servingPlugins>>;
let behind: ReturnType<typeof backend>;

beforeAll(async () => {
  behind = backend();
  const to = { upstream: behind.url, auth: "none" };
  const plugins = [
    { file: "reader.ts", timeout: "150ms" },
    { file: "again.ts", maxBody: "2kb" },
  ];
  gateway = await servingPlugins(
    { "reader.ts": READER, "again.ts": AGAIN },
    {
      tiers: { anonymous: { limits: [] } },
      routes: [
        { path: "/r", ...to, plugins },
        { path: "/once", ...to, retry: null, plugins },
        { path: "/small", ...to, maxBodySize: "100kb", plugins: [{ ...plugins[0], maxBody: "1mb" }] },
        { path: "/skips", ...to, plugins: [{ ...plugins[0], onError: "skip" }] },
      ],
    },
  );
});
afterAll(async () => {
  await gateway.stop();
  behind[Symbol.dispose]();
});

const send = (how: string, body: RequestInit["body"], headers: Record<string, string> = {}, path = "/r/upload", method = "POST") =>
  fetch(gateway.url + path, { method, headers: { "X-How": how, ...headers }, body });
const sha256 = (bytes: Uint8Array | string): string => createHash("sha256").update(bytes).digest("hex");
const readBy = (): unknown => JSON.parse(behind.seen.at(-1)?.headers["x-read"] ?? "null");
const chunked = (bytes: Uint8Array): ReadableStream =>
  new ReadableStream({
    start: (controller) => {
      for (let at = 0; at < bytes.length; at += 10_000) controller.enqueue(bytes.subarray(at, at + 10_000));
      controller.close();
    },
  });

const VALUE = { a: [1, "zwei", null] };
const TEXT = JSON.stringify(VALUE);

describe("a body that a plug-in reads", () => {
  test.each([
    ["json", TEXT, VALUE],
    ["text", "żółw", 4],
    ["bytes", TEXT, TEXT.length],
    ["stream", TEXT, TEXT.length],
    ["blob", new Blob([TEXT], { type: "text/csv" }), [TEXT.length, "text/csv"]],
    ["form", new URLSearchParams({ a: "b" }), { a: "b" }],
  ] as const)("as %s reaches the backend as it came", async (how, body, what) => {
    for (const path of ["/r/upload", "/once/upload"]) {
      const answer = await send(how, body, {}, path);
      expect(readBy()).toEqual(what);
      const sent = body instanceof Blob ? TEXT : String(body);
      expect(await answer.json()).toMatchObject({ sha256: sha256(sent) });
      expect(behind.seen.at(-1)?.headers["content-length"]).toBe(String(Buffer.byteLength(sent)));
    }
  });

  test.each([
    ["gzip", gzipSync(TEXT)],
    ["br", brotliCompressSync(TEXT)],
    ["deflate", deflateSync(TEXT)],
    ["deflate", deflateRawSync(TEXT)],
    ["zstd", zstdCompressSync(TEXT)],
    ["gzip, br", brotliCompressSync(gzipSync(TEXT))],
    ["identity", Buffer.from(TEXT)],
  ])("is decoded from %s, and goes on encoded", async (coding, bytes) => {
    const answer = await send("json", bytes, { "Content-Encoding": coding });
    expect(readBy()).toEqual(VALUE);
    expect(await answer.json()).toEqual({ size: bytes.length, sha256: sha256(bytes) });
    expect(behind.seen.at(-1)?.headers["content-encoding"]).toBe(coding);
  });

  test("is decoded in a copy of the request, which says so", async () => {
    const bytes = gzipSync(TEXT);
    const answer = await send("clone", bytes, { "Content-Encoding": "gzip" });
    expect(readBy()).toEqual([VALUE, null, "gzip"]);
    expect(await answer.json()).toEqual({ size: bytes.length, sha256: sha256(bytes) });
  });

  test("in chunks goes on in chunks", async () => {
    const bytes = crypto.getRandomValues(new Uint8Array(60_000));
    for (const path of ["/r/upload", "/once/upload"]) {
      const answer = await send("bytes", chunked(bytes), {}, path);
      expect(await answer.json()).toEqual({ size: bytes.length, sha256: sha256(bytes) });
      expect(behind.seen.at(-1)?.headers).toMatchObject({ "transfer-encoding": "chunked", "x-read": "60000" });
    }
    expect(await (await send("bytes", chunked(new Uint8Array()))).json()).toMatchObject({ size: 0 });
  });

  test("that is not there is empty", async () => {
    await send("nothing", null, {}, "/r/x", "GET");
    expect(readBy()).toBe(true);
    await send("text", null, {}, "/r/x", "GET");
    expect(readBy()).toBe(0);
  });

  test("is read once for several plug-ins, each up to its own bound", async () => {
    const answer = await send("text", "x".repeat(2000), { "X-Again": "1" });
    expect(await answer.json()).toMatchObject({ size: 2000 });
    expect(behind.seen.at(-1)?.headers).toMatchObject({ "x-read": "2000", "x-read-again": "2000" });
    expect((await send("text", "x".repeat(3000), { "X-Again": "1" })).status).toBe(413);
  });

  test("is read before it goes on, or not at all", async () => {
    const answer = await send("late", TEXT);
    expect(await answer.text()).toBe("the request's body is no longer there: read it in request, identify or admit");
  });

  test("may be read in the background while it goes on", async () => {
    const bytes = crypto.getRandomValues(new Uint8Array(200_000));
    expect(await (await send("begun", bytes)).json()).toEqual({ size: bytes.length, sha256: sha256(bytes) });
  });
});

describe("a body of 2 MB", () => {
  const large = crypto.getRandomValues(new Uint8Array(2_000_000 - (2_000_000 % 65_536)));

  test("streams past a plug-in that does not ask for it", async () => {
    expect(await (await send("", large)).json()).toEqual({ size: large.length, sha256: sha256(large) });
  });

  test.each([
    ["with its length", () => large, {}],
    ["in chunks", () => chunked(large), {}],
    ["packed into 2 kB", () => gzipSync(new Uint8Array(2_000_000)), { "Content-Encoding": "gzip" }],
  ] as const)("%s is too large for one that reads it: 413, and the plug-in has not failed", async (_, body, headers) => {
    const before = await gateway.metric('sluice_plugin_failures_total{plugin="reader",hook="request"');
    const answer = await send("text", body(), headers);
    expect(answer.status).toBe(413);
    expect(await answer.json()).toMatchObject({ code: "bodyTooLarge", detail: "The body must not be larger than 1048576 bytes." });
    expect(await gateway.metric('sluice_plugin_failures_total{plugin="reader",hook="request"')).toEqual(before);
  });

  test.each([
    ["caught", "/r/upload"],
    ["text", "/skips/upload"],
  ])("goes on whole where the plug-in goes on all the same (%s, %s)", async (how, path) => {
    for (const body of [large, chunked(large)])
      expect(await (await send(how, body, {}, path)).json()).toEqual({ size: large.length, sha256: sha256(large) });
  });
});

describe("a body that can't be read is the caller's to mend", () => {
  test.each([
    ["json", "{", {}, "The body is not valid JSON."],
    ["json", "no gzip", { "Content-Encoding": "gzip" }, "The body is not what its Content-Encoding says."],
    ["json", TEXT, { "Content-Encoding": "compress" }, "The body has a Content-Encoding that is not known here (compress)"],
    ["form", "x", { "Content-Type": "text/plain" }, "The body is not the form that its Content-Type says."],
  ])("%s of %s %j: 400", async (how, body, headers, detail) => {
    const answer = await send(how, body, headers);
    expect(answer.status).toBe(400);
    expect(await answer.json()).toMatchObject({ code: "badRequest", detail: expect.stringContaining(detail) });
  });

  test("and the route's own bound holds for what is read as well", async () => {
    expect((await send("text", chunked(new Uint8Array(200_000)), {}, "/small/upload")).status).toBe(413);
  });
});

const head = (how: string, length: number, more = ""): string =>
  `POST /r/upload HTTP/1.1\r\nHost: gateway.test\r\nX-How: ${how}\r\nContent-Length: ${length}\r\n${more}\r\n`;

describe("a body that comes slowly", () => {
  test("does not use up the plug-in's time", async () => {
    const slow = await RawConnection.open(gateway.port);
    slow.write(`${head("text", 10)}01234`);
    // One that takes all of its time, and more, meanwhile.
    expect((await send("hangs", null, {}, "/r/x", "GET")).status).toBe(500);
    slow.write("56789");
    expect(await slow.until("\r\n\r\n")).toContain("HTTP/1.1 200");
    expect(readBy()).toBe(10);
    slow.close();
  });

  test("is asked for with 100 Continue when the plug-in wants it, and not before", async () => {
    const waiting = await RawConnection.open(gateway.port);
    waiting.write(head("answers", 4, "Expect: 100-continue\r\n"));
    expect(await waiting.until("\r\n\r\n")).toStartWith("HTTP/1.1 100 Continue");
    waiting.write("four");
    expect(await waiting.until("Content-Length: 1\r\n")).toContain("HTTP/1.1 200");
    waiting.close();
    const refused = await RawConnection.open(gateway.port);
    refused.write(head("text", 2_000_000, "Expect: 100-continue\r\n"));
    expect(await refused.until("\r\n\r\n")).toStartWith("HTTP/1.1 413");
    refused.close();
  });

  test("and whose caller leaves meanwhile is no failure of the plug-in", async () => {
    const before = await gateway.metric("sluice_plugin_failures_total");
    const leaving = await RawConnection.open(gateway.port);
    leaving.write(`${head("text", 10, "X-Request-ID: left-early\r\n")}01234`);
    // It is read by the time that another request is answered.
    await (await send("text", "x")).text();
    leaving.close();
    const ended = async () => (await gateway.logged()).find(({ msg, requestId }) => msg === "ended" && requestId === "left-early");
    while ((await ended()) === undefined) await Bun.sleep(5);
    expect(await ended()).toMatchObject({ status: 499 });
    expect(await gateway.metric("sluice_plugin_failures_total")).toEqual(before);
  });
});
