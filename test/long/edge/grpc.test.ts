import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { EchoClient, type EchoServer, echoServer, grpc } from "../../support/grpc-js.ts";
import { type Running, start } from "../../support/process.ts";
import { until } from "../../support/until.ts";

const MB = 1_000_000;
const KEY = "a-key-of-acme-0123456789";

let backend: EchoServer;
let gateway: Running;
let client: EchoClient;

const routes = (upstream: string) => [
  { name: "echo", path: "/sluice.test.v1.Echo", upstream, stripPrefix: false, auth: "optional", timeout: "5s" },
];

beforeAll(async () => {
  backend = await echoServer();
  gateway = await start({
    config: {
      server: { workers: Number(process.env.SLUICE_TEST_WORKERS ?? 1) },
      upstreams: { echo: { targets: [{ url: `http://127.0.0.1:${backend.port}` }], protocol: "grpc" } },
      tiers: { anonymous: { limits: [] }, free: { limits: [{ algorithm: "fixed-window", limit: 2, window: "1h" }] } },
      consumers: [{ id: "acme", tier: "free", keys: [KEY] }],
      routes: routes("echo"),
    },
  });
  client = new EchoClient(gateway.port);
}, 60_000);
afterAll(async () => {
  client?.close();
  await gateway?.stop();
  backend?.stop();
});

const metadataOf = (values: Record<string, string>): grpc.Metadata => {
  const metadata = new grpc.Metadata();
  for (const [name, value] of Object.entries(values)) metadata.set(name, value);
  return metadata;
};

describe("grpc-js through the gateway", () => {
  test("calls once, with metadata both ways", async () => {
    const metadata = metadataOf({ "x-from": "me" });
    metadata.set("x-own-bin", Buffer.from([0, 200, 255]));
    const { text, status, head } = await client.one("hello", { metadata });
    expect([text, status.code]).toEqual(["hello", 0]);
    expect(head.get("x-before")).toEqual(["2"]);
    expect(status.metadata.get("x-after")).toEqual(["1"]);
    expect(status.metadata.get("x-some-bin")).toEqual([Buffer.from([0, 1, 255])]);
    expect(backend.last.get("x-from")).toEqual(["me"]);
    expect(backend.last.get("x-own-bin")).toEqual([Buffer.from([0, 200, 255])]);
  });

  test("reads a status with its text", async () => {
    const { status } = await client.one("fail:5");
    expect([status.code, status.details]).toEqual([5, "no — sorry %"]);
    const unknown = await new Promise<grpc.ServiceError | null>((resolve) =>
      client.makeUnaryRequest(
        "/sluice.test.v1.Echo/Nothing",
        (b: Buffer) => b,
        (b: Buffer) => b,
        Buffer.alloc(0),
        (error) => resolve(error),
      ),
    );
    expect(unknown?.code).toBe(grpc.status.UNIMPLEMENTED);
  });

  test("streams down, up and both ways", async () => {
    let count = 0;
    for await (const part of client.down("500:1000")) count += (part as Buffer).length;
    expect(count).toBe(500_000);
    const sum = await new Promise<string>((resolve, reject) => {
      const call = client.up((error, value) => (error === null ? resolve(String(value)) : reject(error)));
      for (let i = 0; i < 200; i++) call.write(Buffer.alloc(100));
      call.end();
    });
    expect(sum).toBe("20000");
    const both = client.both();
    const heard: string[] = [];
    both.on("data", (part: Buffer) => heard.push(part.toString()));
    for (let i = 0; i < 50; i++) {
      both.write(Buffer.from(`m${i}`));
      await until(() => heard.length === i + 1);
    }
    both.end();
    const status = await new Promise<grpc.StatusObject>((resolve) => both.on("status", resolve));
    expect([heard.length, heard[49], status.code]).toEqual([50, "m49", 0]);
  });

  test("gives up at its deadline, and by itself: the service hears of it", async () => {
    const { status } = await client.one("hang", { deadline: Date.now() + 200 });
    expect(status.code).toBe(grpc.status.DEADLINE_EXCEEDED);
    await until(() => backend.open === 0);
    const call = client.down("1000000:1000");
    await new Promise((resolve) => call.once("data", resolve));
    call.on("error", () => {});
    expect(backend.open).toBe(1);
    call.cancel();
    await until(() => backend.open === 0);
  });

  test("is told by the gateway when the route's time is over", async () => {
    const { status } = await client.one("hang");
    expect(status.code).toBe(grpc.status.DEADLINE_EXCEEDED);
    await until(() => backend.open === 0);
  }, 30_000);

  test("sees keys and limits as statuses", async () => {
    const metadata = metadataOf({ "x-api-key": KEY });
    const codes: number[] = [];
    let refused: grpc.StatusObject | null = null;
    for (let i = 0; i < 3; i++) {
      refused = (await client.one("x", { metadata })).status;
      codes.push(refused.code);
    }
    expect(codes).toEqual([0, 0, grpc.status.RESOURCE_EXHAUSTED]);
    expect(Number(refused?.metadata.get("retry-after")[0])).toBeGreaterThan(0);
    const wrong = await client.one("x", { metadata: metadataOf({ "x-api-key": "nobody-s-key-0123456789" }) });
    expect(wrong.status.code).toBe(grpc.status.UNAUTHENTICATED);
    expect(wrong.status.details.length).toBeGreaterThan(10);
  });

  test("makes many calls at once", async () => {
    const answers = await Promise.all(Array.from({ length: 1000 }, (_, i) => client.one(`n${i}`)));
    expect(answers.filter(({ text, status }, i) => text === `n${i}` && status.code === 0)).toHaveLength(1000);
  }, 60_000);

  test("streams 100 MB down and up, and the gateway's memory stays flat", async () => {
    const rss = async (): Promise<number> => {
      const text = await (await gateway.admin("GET", "/metrics")).text();
      return Number(/^process_resident_memory_bytes(?:\{.*\})? (\S+)$/m.exec(text)?.[1]);
    };
    const stream = async (): Promise<void> => {
      let bytes = 0;
      for await (const part of client.down("1600:62500")) bytes += (part as Buffer).length;
      expect(bytes).toBe(100 * MB);
      const sum = await new Promise<string>((resolve, reject) => {
        const call = client.up((error, value) => (error === null ? resolve(String(value)) : reject(error)));
        const piece = Buffer.alloc(62_500);
        const send = async () => {
          for (let i = 0; i < 1600; i++) if (!call.write(piece)) await new Promise((drained) => call.once("drain", drained));
          call.end();
        };
        void send();
      });
      expect(sum).toBe(String(100 * MB));
    };
    // Once before it counts: the runtime takes what it needs for good.
    await stream();
    const before = await rss();
    let most = 0;
    const watch = setInterval(() => void rss().then((now) => (most = Math.max(most, now))), 100);
    try {
      await stream();
    } finally {
      clearInterval(watch);
    }
    expect(most - before).toBeLessThan(60 * MB);
  }, 120_000);

  test("waits for a slow reader without keeping what it does not read", async () => {
    const call = client.down("400:250000");
    call.on("error", () => {});
    await new Promise((resolve) => call.once("data", resolve));
    call.pause();
    await Bun.sleep(500);
    // All but some windows is still the backend's.
    expect(backend.open).toBe(1);
    let bytes = 250_000;
    call.on("data", (part: Buffer) => {
      bytes += part.length;
    });
    call.resume();
    await new Promise((resolve) => call.once("end", resolve));
    expect(bytes).toBe(100 * MB);
  }, 60_000);
});
