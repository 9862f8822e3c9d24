import { afterAll, beforeAll, expect } from "bun:test";
import { ADMIN_TOKEN, type Folder, folder, type Running, start } from "../../support/process.ts";
import { having } from "../../support/programs.ts";
import { until } from "../../support/until.ts";

const { test } = having("go");
const KEY = "a-key-of-acme-0123456789";

let home: Folder;
let program = "";
let service: ReturnType<typeof serve>;
let port = 0;
let gateway: Running;

const serve = () => Bun.spawn([program, "serve"], { stdout: "pipe", stderr: "inherit" });

/** The first line that a program prints. */
async function firstLine(stream: ReadableStream<Uint8Array>): Promise<string> {
  let text = "";
  for await (const part of stream) {
    text += new TextDecoder().decode(part);
    if (text.includes("\n")) break;
  }
  return text.trim();
}

beforeAll(async () => {
  home = folder();
  program = `${home.path}/grpc-go`;
  const build = Bun.spawn(["go", "build", "-o", program, "."], { cwd: `${import.meta.dir}/grpc-go`, stderr: "pipe", stdout: "ignore" });
  const said = await new Response(build.stderr).text();
  if ((await build.exited) !== 0) throw new Error(`go can't build it:\n${said}`);
  service = serve();
  port = Number(await firstLine(service.stdout));
  const route = (name: string, more: object = {}) => ({
    name,
    path: `/sluice.test.v1.${name}`,
    upstream: "echo",
    stripPrefix: false,
    ...more,
  });
  gateway = await start({
    config: {
      upstreams: {
        echo: {
          targets: [{ url: `http://127.0.0.1:${port}` }],
          protocol: "grpc",
          healthCheck: { service: "sluice.test.v1.Echo", interval: "1s" },
        },
      },
      tiers: { free: { limits: [] } },
      consumers: [{ id: "acme", tier: "free", keys: [KEY] }],
      routes: [route("Echo"), route("Limited", { limits: [{ algorithm: "fixed-window", limit: 3, window: "1h" }] })],
    },
  });
}, 300_000);
afterAll(async () => {
  await gateway?.stop();
  service?.kill();
  home[Symbol.dispose]();
});

test("grpc-go calls grpc-go through the gateway: all kinds of calls, deadlines, cancellation, refusals with their details", async () => {
  const caller = Bun.spawn([program, "call", `127.0.0.1:${gateway.port}`, KEY], { stdout: "pipe", stderr: "inherit" });
  expect(JSON.parse(await new Response(caller.stdout).text())).toEqual({
    one: ["hello", "OK", ["2"], ["1"], "AAH/"],
    fail: ["FailedPrecondition", "not — now"],
    deadline: "DeadlineExceeded",
    cancel: "Canceled",
    down: [100_000_000, true],
    up: ["100000000", "OK"],
    both: [200, "OK"],
    refused: ["Unauthenticated", ["sluice/keyInvalid", false]],
    limited: ["ResourceExhausted", ["sluice/rateLimited", true]],
  });
}, 120_000);

test("a service of grpc-go that is killed is found ill by its health protocol, and its callers get UNAVAILABLE", async () => {
  const upstream = async () => {
    const text = await (await fetch(`${gateway.url}/metrics`, { headers: { authorization: `Bearer ${ADMIN_TOKEN}` } })).text();
    return Number(/^sluice_target_healthy\{.*\} (\d)$/m.exec(text)?.[1]);
  };
  await until(async () => (await upstream()) === 1);
  service.kill("SIGKILL");
  await service.exited;
  await until(async () => (await upstream()) === 0);
  const caller = Bun.spawn([program, "call", `127.0.0.1:${gateway.port}`, KEY, "once"], { stdout: "pipe", stderr: "inherit" });
  expect(JSON.parse(await new Response(caller.stdout).text())).toEqual({ once: "Unavailable" });
}, 120_000);
