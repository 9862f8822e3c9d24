import { afterAll, beforeAll, describe, expect } from "bun:test";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { join, resolve } from "node:path";
import { ERROR, FLAG, FRAME } from "../../../src/http/h2/frames.ts";
import { type Backend, backend } from "../../support/backend.ts";
import { ask, block, FrameConnection, frame, http2To, request } from "../../support/http2.ts";
import { type Folder, folder, type Running, start } from "../../support/process.ts";
import { having, programAt } from "../../support/programs.ts";
import { scripted } from "../../support/relay.ts";
import { CERTIFICATE, PRIVATE_KEY } from "../../support/tls.ts";
import { until } from "../../support/until.ts";

const H2SPEC = "v2.2.1+incompatible";
/**
 * What h2spec asks of a server and this one does otherwise, and why. The rest it must do.
 *
 * - the preface: on a plain port a client that does not begin in HTTP/2 is answered in HTTP/1.1, with 400;
 * - DATA behind RST_STREAM: it is passed over, as what is under way when a stream is reset has to be;
 * - priorities: RFC 9113 §5.3.2 has done away with them, and they are read over;
 * - PING with ACK that answers nothing: it ends the connection;
 * - a window above 2^31-1: the connection is ended with PROTOCOL_ERROR, not FLOW_CONTROL_ERROR;
 * - a window that SETTINGS make negative counts as none (node:http2 of Bun 1.4.5): the client gets that much more than it asked for.
 */
const OTHERWISE: readonly string[] = [
  "Sends invalid connection preface",
  "closed: Sends a DATA frame after sending RST_STREAM frame",
  "Sends HEADERS frame that depend on itself",
  "Sends PRIORITY frame that depend on itself",
  "Sends a PING frame with ACK",
  "Sends multiple WINDOW_UPDATE frames increasing the flow control window to above 2^31-1",
  "Sends a SETTINGS frame for window size to be negative",
];

let behind: Backend;
let chunked: ReturnType<typeof scripted>;
let home: Folder;
let plain: Running;
let secure: Running;

beforeAll(async () => {
  behind = backend();
  chunked = scripted(["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 42\r\n\r\n"]);
  home = folder();
  writeFileSync(join(home.path, "cert.pem"), CERTIFICATE);
  writeFileSync(join(home.path, "key.pem"), PRIVATE_KEY);
  const open = (path: string, upstream: string, more: object = {}) => ({ path, upstream, auth: "none", ...more });
  const config = {
    server: { maxBodySize: "200mb" },
    logging: { accessLog: false },
    tiers: { anonymous: { limits: [] } },
    routes: [
      open("/echo", behind.url),
      open("/upload", behind.url, { stripPrefix: false }),
      open("/chunked", `http://127.0.0.1:${chunked.port}`),
      open("/", behind.url),
    ],
  };
  plain = await start({ config });
  secure = await start({
    cwd: home.path,
    config: { ...config, server: { ...config.server, tls: { cert: "cert.pem", key: "key.pem" } } },
    tls: CERTIFICATE,
  });
});
afterAll(async () => {
  await Promise.all([plain, secure].map((gateway) => gateway[Symbol.asyncDispose]()));
  for (const one of [behind, chunked, home]) one[Symbol.dispose]();
});

/** Runs a program to its end, and gives what it prints. Throws with what it says where it fails. */
async function output(command: readonly string[], cwd = home.path, env: Record<string, string> = {}): Promise<string> {
  const child = Bun.spawn([...command], { cwd, env: { ...process.env, ...env }, stdout: "pipe", stderr: "pipe" });
  const [stdout, stderr, status] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text(), child.exited]);
  if (status !== 0) throw new Error(`${command.join(" ")} ended with ${status}:\n${stdout}${stderr}`);
  return stdout;
}

const client = (name: string): string => resolve(import.meta.dir, "clients", name);
const memoryOf = (pid: number): number => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]) / 1024;

/** Gives h2spec, which is built once and kept where the user's caches are. */
async function h2spec(): Promise<string> {
  const cache = join(process.env.XDG_CACHE_HOME ?? join(homedir(), ".cache"), "sluice-tests", "h2spec-2.2.1");
  if (existsSync(join(cache, "h2spec"))) return join(cache, "h2spec");
  mkdirSync(cache, { recursive: true });
  await output([programAt("go") as string, "install", `github.com/summerwind/h2spec/cmd/h2spec@${H2SPEC}`], cache, { GOBIN: cache });
  return join(cache, "h2spec");
}

describe("h2spec", () => {
  having("go").test.each([
    ["with prior knowledge", () => [plain.port]],
    ["over TLS", () => [secure.port, "-t", "-k"]],
  ] as [string, () => (string | number)[]][])("finds nothing that is not explained: %s", async (_, gateway) => {
    const report = join(home.path, "report.xml");
    const [port, ...more] = gateway();
    const run = Bun.spawn([await h2spec(), "-h", "127.0.0.1", "-p", String(port), "-o", "5", "-j", report, ...more.map(String)], {
      stdout: "ignore",
      stderr: "ignore",
    });
    await run.exited;
    const cases = [...readFileSync(report, "utf8").matchAll(/<testcase [^>]*classname="([^"]*)"[^>]*>([\s\S]*?)<\/testcase>/g)];
    const failed = cases
      .filter(([, , inside]) => inside?.includes("<failure") || inside?.includes("<error"))
      .map(([, name]) => name as string);
    expect(cases.length).toBeGreaterThan(140);
    expect(failed.filter((name) => !OTHERWISE.includes(name))).toEqual([]);
  });
});

describe("clients of others", () => {
  const told = { protocol: "HTTP/2.0", uploaded: true, cancelled: true, downloaded: 50 * 1_048_576 };

  having("curl").test("curl", async () => {
    const trust = ["--cacert", join(home.path, "cert.pem")];
    const curl = (...args: string[]) => output(["curl", "-sS", "-w", " %{http_version} %{http_code}", "-o", "/dev/null", ...args]);
    expect(await curl(...trust, `${secure.url}/echo/x`)).toBe(" 2 200");
    expect(await curl("--http2-prior-knowledge", `${plain.url}/echo/x`)).toBe(" 2 200");
    // What asks by Upgrade, which RFC 9113 has done away with, is answered in HTTP/1.1.
    expect(await curl("--http2", `${plain.url}/echo/x`)).toBe(" 1.1 200");
    expect(await curl(...trust, "--http1.1", `${secure.url}/echo/x`)).toBe(" 1.1 200");
    writeFileSync(join(home.path, "content"), Buffer.alloc(30_000_000, "abc"));
    expect(await curl(...trust, "-T", "content", `${secure.url}/upload`)).toBe(" 2 200");
    expect(await curl(...trust, "-H", "Transfer-Encoding: chunked", "-T", "content", `${secure.url}/upload`)).toBe(" 2 200");
    expect(await curl(...trust, "-I", `${secure.url}/echo/x`)).toBe(" 2 200");
    expect(await curl(...trust, "-H", "Expect: 100-continue", "-d", "hello", `${secure.url}/echo/x`)).toBe(" 2 200");
  });

  having("h2load", "nghttp").test("nghttp and h2load", async () => {
    expect(await output(["nghttp", "-nv", `${plain.url}/echo/x`])).toContain(":status: 200");
    for (const url of [plain.url, secure.url]) {
      const text = await output(["h2load", "-n", "5000", "-c", "10", "-m", "100", `${url}/echo/x`]);
      expect(text).toContain("5000 succeeded, 0 failed, 0 errored");
      expect(text).toContain("5000 2xx");
    }
  });

  having("go").test("Go", async () => {
    for (const { url } of [plain, secure])
      expect(JSON.parse(await output(["go", "run", client("http2.go"), url, "cert.pem"]))).toEqual({ ...told, good: 500, trailer: "42" });
  });

  having("node").test("Node", async () => {
    for (const { url } of [plain, secure])
      expect(JSON.parse(await output(["node", client("http2.mjs"), url, "cert.pem"]))).toEqual({ ...told, good: 200, trailer: "42" });
  });

  having("javac").test("Java", async () => {
    expect(JSON.parse(await output(["java", client("Http2.java"), secure.url, "cert.pem"]))).toEqual({ ...told, good: 200 });
  });
});

describe("what one client can do", () => {
  const { test } = having("curl");

  test("10,000 reset streams: it is closed, and others notice nothing", async () => {
    const before = memoryOf(plain.pid);
    using other = http2To(plain.url);
    let [good, isOn] = [0, true];
    const others = (async () => {
      while (isOn) if ((await ask(other, { ":path": "/echo/status?body=hi" })).body === "hi") good++;
    })();
    const requests = Array.from({ length: 10_000 }, (_, i) => [
      frame(FRAME.headers, FLAG.endHeaders | FLAG.endStream, 2 * i + 1, block(request("/echo/hang"))),
      frame(FRAME.rstStream, 0, 2 * i + 1, Buffer.from([0, 0, 0, ERROR.cancel])),
    ]).flat();
    for (let i = 0; i < 20; i++) {
      const attacker = await FrameConnection.open(plain.port);
      attacker.write(...requests);
      expect(await attacker.goAwayCode()).toBe(ERROR.enhanceYourCalm);
      attacker.close();
    }
    const during = good;
    await until(() => good > during + 10);
    isOn = false;
    await others;
    expect(memoryOf(plain.pid) - before).toBeLessThan(60);
    const metrics = await (await fetch(`${plain.url}/metrics`)).text();
    expect(metrics).toContain('sluice_http2_cut_off_total{why="resets"} 20');
  });

  test("100 MB to one who reads slowly, and 100 MB from one, in little memory", async () => {
    using session = http2To(plain.url);
    await ask(session, { ":path": "/echo/download?mb=20" });
    const before = memoryOf(plain.pid);
    let peak = 0;
    const watch = setInterval(() => {
      peak = Math.max(peak, memoryOf(plain.pid));
    }, 20);
    const stream = session.request({ ":path": "/echo/download?mb=100" });
    let size = 0;
    stream.on("data", (part: Buffer) => {
      size += part.length;
      if (size % 7 === 0) {
        stream.pause();
        setTimeout(() => stream.resume(), 5);
      }
    });
    await new Promise((ended) => stream.on("close", ended));
    const uploaded = await ask(session, { ":path": "/upload", ":method": "POST" }, Buffer.alloc(100_000_000));
    clearInterval(watch);
    expect([size, JSON.parse(uploaded.body).size]).toEqual([100 * 1_048_576, 100_000_000]);
    expect(peak - before).toBeLessThan(60);
  });

  test("a thousand idle connections are held and let go", async () => {
    const before = memoryOf(plain.pid);
    const idle: FrameConnection[] = [];
    for (let i = 0; i < 1000; i++) {
      const connection = await FrameConnection.open(plain.port);
      connection.headers(1, request("/health"));
      idle.push(connection);
    }
    await Promise.all(idle.map((connection) => connection.frame(FRAME.data, 1)));
    expect(memoryOf(plain.pid) - before).toBeLessThan(100);
    for (const connection of idle) connection.close();
    await until(async () => /sluice_connections_open (\d+)/.exec(await (await fetch(`${plain.url}/metrics`)).text())?.[1] === "1");
  });
});
