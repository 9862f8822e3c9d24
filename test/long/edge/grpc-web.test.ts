import { afterAll, beforeAll, expect } from "bun:test";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import type { Browser } from "playwright-core";
import { launch } from "../../support/browser.ts";
import { grpcServer } from "../../support/grpc.ts";
import { type Running, start } from "../../support/process.ts";
import { having } from "../../support/programs.ts";

const { test } = having("chromium");

let backend: Awaited<ReturnType<typeof grpcServer>>;
let page: Server;
let gateway: Running;
let browser: Browser;
let origin = "";

beforeAll(async () => {
  // google.protobuf.StringValue: field 1 is the text.
  backend = await grpcServer(async (call) => {
    const [asked = ""] = await call.heard;
    const text = asked.slice(2);
    if (text === "fail") {
      call.refuse(9, { "grpc-message": "not%20now" });
      return;
    }
    const count = String(call.headers[":path"]).endsWith("/Count") ? 3 : 1;
    for (let i = 0; i < count; i++) call.say(`\n${String.fromCharCode(text.length + 1)}${text}${i}`);
    call.end(0, { "x-after": "yes" });
  });
  const built = await Bun.build({ entrypoints: [`${import.meta.dir}/grpc-web-page.ts`], target: "browser" });
  const script = (await built.outputs[0]?.text()) ?? "";
  page = createServer((request, response) => {
    response.setHeader("content-type", request.url === "/page.js" ? "text/javascript" : "text/html");
    response.end(request.url === "/page.js" ? script : '<script type="module" src="/page.js"></script>');
  });
  await new Promise<void>((resolve) => page.listen(0, "127.0.0.1", () => resolve()));
  origin = `http://127.0.0.1:${(page.address() as AddressInfo).port}`;
  gateway = await start({
    config: {
      upstreams: { texts: { targets: [{ url: `http://127.0.0.1:${backend.port}` }], protocol: "grpc" } },
      tiers: { anonymous: { limits: [] } },
      routes: [
        { path: "/test.v1.Texts", upstream: "texts", stripPrefix: false, auth: "none", cors: { origins: [origin] } },
        { path: "/test.v1.Texts/Closed", upstream: "texts", stripPrefix: false, auth: "required", cors: { origins: [origin] } },
      ],
    },
  });
  browser = await launch();
}, 120_000);
afterAll(async () => {
  await browser?.close();
  await gateway?.stop();
  page?.close();
  backend?.[Symbol.dispose]();
});

test.each([true, false])(
  "a page calls by Connect's gRPC-Web, from another origin (bytes: %p)",
  async (isBinary) => {
    const tab = await browser.newPage();
    await tab.goto(origin);
    await tab.waitForFunction("window.calls !== undefined");
    const outcome = await tab.evaluate(`window.calls(${JSON.stringify(gateway.url)}, ${isBinary})`);
    expect(outcome).toEqual({ one: "a0", after: "yes", count: ["b0", "b1", "b2"], failed: [9, "not now"], closed: 16 });
    await tab.close();
  },
  120_000,
);
