import { expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { authorizer } from "../support/authorizer.ts";
import { backend } from "../support/backend.ts";
import { collector } from "../support/collector.ts";
import { folder, start } from "../support/process.ts";
import { CERTIFICATE, PRIVATE_KEY } from "../support/tls.ts";

test("the program asks over TLS, by a URL from the environment, and log and trace say what became of it", async () => {
  using behind = backend();
  using traces = collector();
  using away = folder();
  const asked: string[] = [];
  const traced: (string | null)[] = [];
  using plain = authorizer(() => new Response(null, { status: 500 }));
  const secure = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    tls: { cert: CERTIFICATE, key: PRIVATE_KEY },
    fetch: ({ headers }) => {
      const uri = headers.get("x-forwarded-uri") ?? "";
      asked.push(uri);
      traced.push(headers.get("traceparent"));
      return uri.endsWith("/no") ? new Response("not you", { status: 403 }) : new Response(null, { headers: { "x-user": "alice" } });
    },
  });
  const ca = join(away.path, "ca.pem");
  writeFileSync(ca, CERTIFICATE);
  await using gateway = await start({
    env: { MAY: `https://localhost:${secure.port}/may`, NODE_EXTRA_CA_CERTS: ca },
    config: {
      tiers: { anonymous: { limits: [] } },
      logging: { format: "json" },
      telemetry: { otlp: { endpoint: traces.url, sample: 1 } },
      routes: [
        { name: "shop", path: "/shop", upstream: behind.url, auth: "none", authorize: { url: "${MAY}" } },
        { name: "broken", path: "/broken", upstream: behind.url, auth: "none", authorize: { url: plain.url } },
      ],
    },
  });
  const get = async (path: string) => {
    const answer = await fetch(gateway.url + path);
    return [answer.status, await answer.text()] as const;
  };
  expect((await get("/shop/7"))[1]).toContain('"x-user":"alice"');
  expect(await get("/shop/no")).toEqual([403, "not you"]);
  expect((await get("/broken"))[0]).toBe(503);
  expect(asked).toEqual(["/shop/7", "/shop/no"]);
  await gateway.stop();
  await secure.stop(true);

  const lines = gateway
    .output()
    .split("\n")
    .filter((line) => line.startsWith("{"))
    .map((line) => JSON.parse(line));
  const requests = lines.filter(({ msg, route }) => msg === "request" && route !== null);
  expect(requests.map(({ status, code, authorize, error, attempts }) => ({ status, code, authorize, error, attempts }))).toEqual([
    { status: 200, code: undefined, authorize: undefined, error: undefined, attempts: 1 },
    { status: 403, code: undefined, authorize: "refused", error: undefined, attempts: 0 },
    { status: 503, code: "authorizeFailed", authorize: "failed", error: "authorize: answers 500", attempts: 0 },
  ]);
  expect(lines.filter(({ service }) => service !== undefined)).toMatchObject([
    { level: "error", route: "broken", service: `${plain.url}/`, why: "answers 500" },
  ]);
  const steps = traces.spans.filter(({ name }) => name === "authorize");
  expect(steps.map(({ attributes }) => attributes["sluice.authorize"])).toEqual(["allowed", "refused", "failed"]);
  // The service's own spans stand in the request's trace.
  expect(traced[0]).toContain(steps[0]?.traceId ?? "no trace");
});
