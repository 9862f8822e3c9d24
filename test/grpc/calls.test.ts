import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { decodeMessage } from "../../src/grpc/message.ts";
import { framedMessage } from "../../src/grpc/messages.ts";
import { grpcServer, type ServedCall, webCall } from "../support/grpc.ts";
import { serving } from "../support/serving.ts";
import { until } from "../support/until.ts";
import { DATA, frame, framed, HEADERS, hpack, RST_STREAM, word } from "../support/upstream-h2.ts";

/** What the service does with the next calls, by their path. */
const acts = new Map<string, (call: ServedCall) => unknown>();
let backend: Awaited<ReturnType<typeof grpcServer>>;
let torn: Awaited<ReturnType<typeof framed>>;
let gateway: ReturnType<typeof serving>;

beforeAll(async () => {
  backend = await grpcServer((call) => (acts.get(String(call.headers[":path"])) ?? (() => call.refuse(12)))(call));
  let isReset = false;
  torn = await framed((stream, socket) => {
    const head = frame(HEADERS, 4, stream, hpack({ ":status": "200", "content-type": "application/grpc" }));
    socket.write(Buffer.concat([head, frame(DATA, 0, stream, framedMessage(Buffer.from("one")))]));
    isReset = !isReset;
    setTimeout(() => (isReset ? socket.write(frame(RST_STREAM, 0, stream, word(8))) : socket.destroy()), 20);
  });
  gateway = serving({
    upstreams: {
      orders: { targets: [{ url: `http://127.0.0.1:${backend.port}` }], protocol: "grpc", breaker: null },
      torn: { targets: [{ url: `http://127.0.0.1:${torn.port}` }], protocol: "grpc", breaker: null },
    },
    tiers: { anonymous: { limits: [] } },
    routes: [
      { path: "/shop.v1.Torn", upstream: "torn", stripPrefix: false, auth: "none" },
      {
        name: "orders",
        path: "/shop.v1.Orders",
        upstream: "orders",
        stripPrefix: false,
        auth: "none",
        retry: { on: ["grpc:UNAVAILABLE"], baseDelay: "1ms" },
      },
      {
        name: "small",
        path: "/shop.v1.Small",
        upstream: "orders",
        stripPrefix: false,
        auth: "none",
        maxBodySize: "10b",
        cors: { origins: ["https://app.example"] },
      },
      {
        name: "limited",
        path: "/shop.v1.Limited",
        upstream: "orders",
        stripPrefix: false,
        auth: "none",
        limits: [{ algorithm: "fixed-window", limit: 1, window: "1h" }],
      },
      { name: "keys", path: "/shop.v1.Keys", upstream: "orders", stripPrefix: false, auth: "required" },
    ],
  });
});
afterAll(async () => {
  await gateway.stop();
  backend[Symbol.dispose]();
  torn[Symbol.dispose]();
});

const at = (method: string) => `${gateway.url}/shop.v1.${method}`;
const on = (method: string, act: (call: ServedCall) => unknown) => acts.set(`/shop.v1.${method}`, act);

describe("a call", () => {
  test.each([false, true])("of a browser is translated, and its answer back (base64: %p)", async (isText) => {
    let type = "";
    let te = "";
    on("Orders/Echo", async (call) => {
      type = String(call.headers["content-type"]);
      te = String(call.headers.te);
      for (const text of await call.heard) call.say(`<${text}>`);
      call.end(0, { "x-after": "1" });
    });
    const answer = await webCall(at("Orders/Echo"), ["a", "bcd", "efgh"], { isText });
    expect(answer.http).toBe(200);
    expect(answer.headers.get("content-type")).toBe(`application/grpc-web${isText ? "-text" : ""}+proto`);
    expect(answer.messages).toEqual(["<a>", "<bcd>", "<efgh>"]);
    expect(answer.trailers).toEqual({ "grpc-status": "0", "x-after": "1" });
    expect([type, te]).toEqual(["application/grpc+proto", "trailers"]);
  });

  test("gets a status of a backend that breaks off, ends without one, or answers with none", async () => {
    on("Orders/Silent", (call) => {
      call.stream.respond({ ":status": 200, "content-type": "application/grpc" });
      call.stream.end();
    });
    on("Orders/Page", (call) => {
      call.stream.respond({ ":status": 404, "content-type": "text/html" });
      call.stream.end("<html>");
    });
    for (const method of ["Torn/Reset", "Torn/Lost"]) {
      const torn = await webCall(at(method), []);
      expect([torn.http, torn.messages, torn.trailers["grpc-status"]]).toEqual([200, ["one"], "14"]);
    }
    expect((await webCall(at("Orders/Silent"), [])).status).toBe("13");
    expect((await webCall(at("Orders/Page"), [])).http).toBe(404);
  });

  test("may take as long as its caller says, and no longer", async () => {
    on("Orders/Hang", () => {});
    on("Orders/Halts", (call) => call.say("one"));
    gateway.clock.advance(0);
    const late = await webCall(at("Orders/Halts"), [], { headers: { "grpc-timeout": "50m" } });
    expect([late.messages, late.status]).toEqual([["one"], "4"]);
  });

  test("is sent again where its route names the status, and the body is there", async () => {
    let tries = 0;
    on("Orders/Flaky", async (call) => {
      if (++tries < 3) call.refuse(14);
      else {
        for (const text of await call.heard) call.say(text);
        call.end(0);
      }
    });
    const answer = await webCall(at("Orders/Flaky"), ["again"]);
    expect([answer.status, answer.messages, tries]).toEqual(["0", ["again"], 3]);
    let others = 0;
    on("Keys/Flaky", (call) => {
      others++;
      call.refuse(14);
    });
    on("Small/Flaky", (call) => {
      others++;
      call.refuse(14);
    });
    expect((await webCall(at("Small/Flaky"), [])).status).toBe("14");
    expect(others).toBe(1);
  });

  test("has messages of a bounded size, and as many as it likes", async () => {
    on("Small/Count", async (call) => {
      call.say(String((await call.heard).length));
      call.end(0);
    });
    expect((await webCall(at("Small/Count"), Array(20).fill("0123456789"))).messages).toEqual(["20"]);
    const large = await webCall(at("Small/Count"), ["x", "0123456789A"]);
    expect(large.status).toBe("8");
  });

  test("that is refused gets a status, its reason and when to come again", async () => {
    on("Limited/Do", (call) => call.end(0));
    expect((await webCall(at("Limited/Do"), [])).status).toBe("0");
    const refused = await webCall(at("Limited/Do"), []);
    expect([refused.http, refused.status, refused.messages]).toEqual([200, "8", []]);
    expect(decodeMessage(refused.headers.get("grpc-message") ?? "")).toContain("Too many requests");
    expect(Number(refused.headers.get("retry-after"))).toBeGreaterThan(0);
    expect(Number(refused.headers.get("grpc-retry-pushback-ms"))).toBe(1000 * Number(refused.headers.get("retry-after")));
    const details = Buffer.from(refused.headers.get("grpc-status-details-bin") ?? "", "base64").toString("latin1");
    expect(details).toContain("google.rpc.ErrorInfo");
    expect(details).toContain("rateLimited");
    expect(details).toContain("google.rpc.RetryInfo");
    expect((await webCall(at("Keys/Do"), [])).status).toBe("16");
    expect((await webCall(`${gateway.url}/nowhere/Do`, [])).status).toBe("12");
  });

  test("of a page of another origin shows it the status", async () => {
    on("Small/Cors", (call) => call.refuse(5, { "grpc-message": "none" }));
    const answer = await webCall(at("Small/Cors"), [], { headers: { origin: "https://app.example" } });
    expect(answer.headers.get("access-control-expose-headers")?.toLowerCase()).toContain(
      "grpc-status, grpc-message, grpc-status-details-bin",
    );
    expect([answer.status, answer.headers.get("grpc-message")]).toEqual(["5", "none"]);
  });

  test("is counted by its status", async () => {
    on("Orders/NotFound", (call) => {
      call.say("x");
      call.end(5);
    });
    await webCall(at("Orders/NotFound"), []);
    const counted = async () =>
      (await (await gateway.admin("GET", "/metrics")).text())
        .split("\n")
        .filter((line) => /^(sluice_grpc|http_requests).*(orders|limited)/.test(line));
    await until(async () => (await counted()).includes('sluice_grpc_calls_total{route="orders",status="NOT_FOUND"} 1'));
    const lines = await counted();
    expect(lines).toContain('sluice_grpc_calls_total{route="limited",status="RESOURCE_EXHAUSTED"} 1');
    expect(lines).toContain('http_requests_total{route="limited",method="POST",status="429"} 1');
  });

  test("leaves nothing behind when its caller leaves", async () => {
    let isClosed = false;
    on("Orders/Stream", (call) => {
      call.say("one");
      call.stream.on("close", () => {
        isClosed = true;
      });
    });
    const abort = new AbortController();
    const calling = webCall(at("Orders/Stream"), [], { signal: abort.signal }).catch((error: Error) => error.name);
    await until(() => backend.sessions.size > 0);
    await Bun.sleep(20);
    abort.abort();
    expect(await calling).toBe("AbortError");
    await until(() => isClosed);
  });
});
