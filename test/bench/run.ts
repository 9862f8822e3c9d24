// CPU time per request and throughput of the gateway beside a bare `Bun.serve` + `fetch` pass-through, in one run on one core each.
// Needs wrk or autocannon on the PATH; with redis-server beside it limits in Redis are measured as well. `bun run bench [--seconds N] [--binary dist/sluice]`
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { SignJWT } from "jose";
import { freePort } from "../support/process.ts";

const option = (name: string): string | undefined => {
  const at = Bun.argv.indexOf(`--${name}`);
  return at < 0 ? undefined : Bun.argv[at + 1];
};
const SECONDS = Number(option("seconds") ?? 5);
const BINARY = option("binary");
const LOADER = Bun.which("wrk") ?? Bun.which("autocannon");
const KEY = "a-key-for-the-bench-0123456789";
const SECRET = "a-secret-for-the-bench-of-32-characters";
const TOKEN = await new SignJWT({ email: "alice@example.com", scope: "orders:read orders:write" })
  .setProtectedHeader({ alg: "HS256" })
  .setIssuer("https://id.example.com")
  .setAudience("api")
  .setSubject("alice")
  .setIssuedAt()
  .setExpirationTime("1h")
  .sign(new TextEncoder().encode(SECRET));

if (LOADER === null) {
  console.error("bench: neither wrk nor autocannon is on the PATH: install one (apt-get install wrk, or npm install -g autocannon)");
  process.exit(1);
}
// The subject on one core, what loads it and what serves it on the other.
const isSplit = cpus().length > 1 && Bun.which("taskset") !== null;
const on = (core: 0 | 1, command: string[]): string[] => (isSplit ? ["taskset", "-c", String(core), ...command] : command);

const folder = mkdtempSync(join(tmpdir(), "sluice-bench-"));
const children: Bun.Subprocess[] = [];

function spawn(core: 0 | 1, command: string[], env: Record<string, string> = {}): Bun.Subprocess {
  const child = Bun.spawn(on(core, command), { cwd: folder, env: { ...process.env, ...env }, stdout: "ignore", stderr: "ignore" });
  children.push(child);
  return child;
}

async function answering(url: string, headers: Record<string, string> = {}): Promise<void> {
  for (let i = 0; i < 500; i++) {
    if (
      await fetch(url, { headers }).then(
        (answer) => answer.ok,
        () => false,
      )
    )
      return;
    await Bun.sleep(10);
  }
  throw new Error(`${url} does not answer`);
}

/** CPU time that a process has used, in microseconds (Linux). */
function cpuTime(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]?.split(" ") ?? [];
  return (Number(fields[11]) + Number(fields[12])) * 10_000;
}

const timeWait = (): number => Number(/TCP: .*tw (\d+)/.exec(readFileSync("/proc/net/sockstat", "utf8"))?.[1] ?? 0);

interface Figures {
  readonly perSecond: number;
  readonly cpu: number;
  readonly errors: number;
  readonly timeWait: number;
}

async function load(pid: number, url: string, connections: number, headers: Record<string, string>): Promise<Figures> {
  const isWrk = LOADER?.endsWith("wrk") === true;
  const fields = Object.entries(headers).flatMap(([name, value]) => ["-H", isWrk ? `${name}: ${value}` : `${name}=${value}`]);
  const command = isWrk
    ? [LOADER ?? "", "-t1", `-c${connections}`, `-d${SECONDS}s`, ...fields, url]
    : [LOADER ?? "", "-c", String(connections), "-d", String(SECONDS), "--json", ...fields, url];
  const [cpuBefore, waitBefore] = [cpuTime(pid), timeWait()];
  const child = Bun.spawn(on(1, command), { stdout: "pipe", stderr: "ignore" });
  const text = await new Response(child.stdout).text();
  const cpu = cpuTime(pid) - cpuBefore;
  if (isWrk) {
    const requests = Number(/(\d+) requests in/.exec(text)?.[1]);
    const errors =
      Number(/Non-2xx or 3xx responses: (\d+)/.exec(text)?.[1] ?? 0) +
      [...text.matchAll(/(?:connect|read|write|timeout) (\d+)/g)].reduce((sum, match) => sum + Number(match[1]), 0);
    return {
      perSecond: Number(/Requests\/sec:\s+([\d.]+)/.exec(text)?.[1]),
      cpu: cpu / requests,
      errors,
      timeWait: timeWait() - waitBefore,
    };
  }
  const { requests, errors, non2xx } = JSON.parse(text) as { requests: { total: number; average: number }; errors: number; non2xx: number };
  return { perSecond: requests.average, cpu: cpu / requests.total, errors: errors + non2xx, timeWait: timeWait() - waitBefore };
}

const backendPort = freePort();
writeFileSync(
  join(folder, "backend.ts"),
  `Bun.serve({ hostname: "127.0.0.1", port: ${backendPort}, fetch: () => new Response("x".repeat(64), { headers: { "content-type": "application/json" } }) });`,
);
const barePort = freePort();
writeFileSync(
  join(folder, "bare.ts"),
  `Bun.serve({ hostname: "127.0.0.1", port: ${barePort}, idleTimeout: 0, fetch: (request) => fetch("http://127.0.0.1:${backendPort}/", { method: request.method, headers: request.headers, body: request.body, redirect: "manual", decompress: false, signal: request.signal }) });`,
);
const port = freePort();
const config = {
  logging: { accessLog: false },
  // The row for 401 shows nothing but bad keys.
  guard: null,
  tiers: {
    anonymous: { limits: [{ algorithm: "sliding-window", limit: 1_000_000_000, window: "1m" }] },
    bench: {
      limits: [
        { algorithm: "sliding-window", limit: 1_000_000_000, window: "1m" },
        { algorithm: "token-bucket", limit: 1_000_000_000, window: "1m", name: "bucket" },
      ],
    },
    tight: { limits: [{ algorithm: "fixed-window", limit: 1, window: "1d" }] },
  },
  issuers: {
    main: {
      issuer: "https://id.example.com",
      audience: ["api"],
      secret: SECRET,
      tier: { default: "bench" },
      headers: { "X-User-Email": "email" },
    },
  },
  consumers: [
    { id: "bench", tier: "bench", keys: [KEY] },
    { id: "limited", tier: "tight", keys: [`${KEY}-limited`] },
  ],
  routes: [
    { name: "all", path: "/", upstream: `http://127.0.0.1:${backendPort}` },
    { name: "kept", path: "/kept", upstream: `http://127.0.0.1:${backendPort}`, cache: { ttl: "1h", shared: true } },
    { name: "hooked", path: "/hooked", upstream: `http://127.0.0.1:${backendPort}`, plugins: [{ file: "empty.ts" }] },
  ],
};
writeFileSync(join(folder, "empty.ts"), "export default { request(_request, _context) {} };\n");
writeFileSync(join(folder, "config.json"), JSON.stringify(config));
const redisPort = freePort();

try {
  spawn(1, [process.execPath, "backend.ts"]);
  await answering(`http://127.0.0.1:${backendPort}`);
  const bare = spawn(0, [process.execPath, "bare.ts"]);
  const program = BINARY === undefined ? [process.execPath, resolve(import.meta.dir, "../../src/main.ts")] : [resolve(BINARY)];
  const gateway = spawn(0, program, { SLUICE_PORT: String(port), SLUICE_HOST: "127.0.0.1", SLUICE_ADMIN_TOKEN: "bench-token-0123456789" });
  const url = `http://127.0.0.1:${port}/`;
  await answering(`http://127.0.0.1:${barePort}/`);
  await answering(url, { "x-api-key": KEY });
  await fetch(url, { headers: { "x-api-key": `${KEY}-limited` } });

  /** Another gateway beside it, by the same configuration with something more. */
  const beside = async (name: string, more: object): Promise<[pid: number, url: string]> => {
    const its = freePort();
    writeFileSync(join(folder, `${name}.json`), JSON.stringify({ ...config, ...more }));
    const { pid } = spawn(0, [...program, "--config", `${name}.json`, "--port", String(its), "--data", name], {
      SLUICE_HOST: "127.0.0.1",
      SLUICE_ADMIN_TOKEN: "bench-token-0123456789",
    });
    await answering(`http://127.0.0.1:${its}/`, { "x-api-key": KEY });
    return [pid, `http://127.0.0.1:${its}/`];
  };
  const logged = await beside("logged", { logging: { accessLog: true } });
  const withRedis: [string, number, string, Record<string, string>][] = [];
  if (Bun.which("redis-server") !== null) {
    spawn(1, ["redis-server", "--port", String(redisPort), "--save", "", "--appendonly", "no"]);
    for (const mode of ["exact", "leased"]) {
      const its = await beside(mode, { redis: { url: `redis://127.0.0.1:${redisPort}`, mode, prefix: mode } });
      withRedis.push([`sluice: limits in Redis, ${mode}`, ...its, { "x-api-key": KEY }]);
    }
  }

  const subjects: [string, number, string, Record<string, string>][] = [
    ["bare Bun.serve + fetch", bare.pid, `http://127.0.0.1:${barePort}/`, { "x-api-key": KEY }],
    ["sluice: key, two limits, forwarded", gateway.pid, url, { "x-api-key": KEY }],
    ["sluice: token, two limits, forwarded", gateway.pid, url, { authorization: `Bearer ${TOKEN}` }],
    ["sluice: the same, with an empty hook", gateway.pid, `${url}hooked`, { "x-api-key": KEY }],
    ["sluice: the same, with an access log", ...logged, { "x-api-key": KEY }],
    ...withRedis,
    ["sluice: key, two limits, cache hit", gateway.pid, `${url}kept`, { "x-api-key": KEY }],
    ["sluice: 429", gateway.pid, url, { "x-api-key": `${KEY}-limited` }],
    ["sluice: 401", gateway.pid, url, { "x-api-key": "nobody-has-this-key-0123" }],
  ];
  // Once without counting: the code is compiled while it warms up.
  for (const [, pid, address, headers] of subjects.slice(0, 5)) await load(pid, address, 64, headers);
  console.log(
    `${"".padEnd(38)}${"connections".padStart(12)}${"requests/s".padStart(12)}${"CPU µs/req".padStart(12)}${"of bare".padStart(9)}${"errors".padStart(8)}${"TIME_WAIT".padStart(11)}`,
  );
  for (const connections of [64, 1000]) {
    let reference = 0;
    for (const [name, pid, address, headers] of subjects) {
      const { perSecond, cpu, errors, timeWait: waiting } = await load(pid, address, connections, headers);
      reference ||= cpu;
      const isRefusal = /\d{3}$/.test(name);
      console.log(
        `${name.padEnd(38)}${String(connections).padStart(12)}${String(Math.round(perSecond)).padStart(12)}${cpu.toFixed(1).padStart(12)}${(cpu / reference).toFixed(2).padStart(9)}${(isRefusal ? "-" : String(errors)).padStart(8)}${`+${waiting}`.padStart(11)}`,
      );
    }
  }
} finally {
  for (const child of children) child.kill("SIGKILL");
  rmSync(folder, { recursive: true, force: true });
}
