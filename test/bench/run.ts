// CPU time per request and throughput of the gateway beside a bare `Bun.serve` + `fetch` pass-through, in one run on one core each.
// Needs wrk or autocannon on the PATH. With nginx and haproxy there these are measured beside it, as limiting proxies with one worker; with redis-server limits
// in Redis are; with h2load (nghttp2-client) requests over HTTP/2 are. `--workers N` adds the gateway with N workers on N cores. Each is measured `--rounds`
// times in turn, and the medians are told: on a machine that others use, one round is compared with itself alone. `--only` names subjects by a pattern.
// Then calls of models, which need wrk (models.ts): `bun run bench litellm` measures those alone, with LiteLLM beside, where that is on the PATH.
// `bun run bench [litellm] [--seconds N] [--rounds N] [--only PATTERN] [--binary dist/sluice] [--workers N]`
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { SignJWT } from "jose";
import { freePort } from "../support/process.ts";
import { benchModels } from "./models.ts";
import { answering, cpuTime, median, on, option, Programs } from "./processes.ts";

const SECONDS = Number(option("seconds") ?? 2);
const ROUNDS = Number(option("rounds") ?? 5);
/** Seconds for which each is loaded before: JavaScript that runs for a second has not been compiled for the last time. */
const WARM_UP = 8;
const ONLY = new RegExp(option("only") ?? "");
const BINARY = option("binary");
const WORKERS = Number(option("workers") ?? 1);
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
/** The subject's core, and that of what loads it and serves it. With as many workers as cores they share the last one. */
const SUBJECT = "0";
const OTHERS = String(Math.min(Math.max(WORKERS, 1), cpus().length - 1));
const program = BINARY === undefined ? [process.execPath, resolve(import.meta.dir, "../../src/main.ts")] : [resolve(BINARY)];
if (Bun.argv.includes("litellm")) {
  await benchModels(program, true);
  process.exit();
}

const folder = mkdtempSync(join(tmpdir(), "sluice-bench-"));
const programs = new Programs(folder);
const spawn = programs.spawn.bind(programs);

/** Puts what is told of one subject into columns. */
const rowOf = (name: string, cells: readonly string[]): string =>
  name.padEnd(38) + cells.map((cell, i) => cell.padStart(WIDTHS[i] ?? 12)).join("");
const WIDTHS = [12, 12, 12, 9, 8, 11];

const timeWait = (): number => Number(/TCP: .*tw (\d+)/.exec(readFileSync("/proc/net/sockstat", "utf8"))?.[1] ?? 0);

/** `streams`: as many requests at a time share a connection, over HTTP/2; left out: HTTP/1.1. */
type Subject = [name: string, pid: number, url: string, headers: Record<string, string>, streams?: number];

interface Figures {
  readonly perSecond: number;
  readonly cpu: number;
  readonly errors: number;
  readonly timeWait: number;
}

/** Loads one subject with as many requests at a time as there would be connections over HTTP/1.1. */
async function loadHttp2([, pid, url, headers, streams = 1]: Subject, connections: number, seconds: number): Promise<Figures> {
  const fields = Object.entries(headers).flatMap(([name, value]) => ["-H", `${name}: ${value}`]);
  const counts = ["-t", "1", "-c", String(Math.ceil(connections / streams)), "-m", String(streams), "-D", String(seconds)];
  const [cpuBefore, waitBefore] = [cpuTime(pid), timeWait()];
  const child = Bun.spawn(on(OTHERS, ["h2load", ...counts, ...fields, url]), { stdout: "pipe", stderr: "ignore" });
  const text = await new Response(child.stdout).text();
  const cpu = cpuTime(pid) - cpuBefore;
  const [, , done = "0", succeeded = "0"] = /requests: (\d+) total, \d+ started, (\d+) done, (\d+) succeeded/.exec(text) ?? [];
  const good = Number(/status codes: (\d+) 2xx/.exec(text)?.[1] ?? 0);
  return {
    perSecond: Number(done) / seconds,
    cpu: cpu / Number(done),
    errors: Number(succeeded) - good,
    timeWait: timeWait() - waitBefore,
  };
}

async function load(subject: Subject, connections: number, seconds = SECONDS): Promise<Figures> {
  const [, pid, url, headers, streams] = subject;
  if (streams !== undefined) return loadHttp2(subject, connections, seconds);
  const isWrk = LOADER?.endsWith("wrk") === true;
  const fields = Object.entries(headers).flatMap(([name, value]) => ["-H", isWrk ? `${name}: ${value}` : `${name}=${value}`]);
  const command = isWrk
    ? [LOADER ?? "", "-t1", `-c${connections}`, `-d${seconds}s`, ...fields, url]
    : [LOADER ?? "", "-c", String(connections), "-d", String(seconds), "--json", ...fields, url];
  const [cpuBefore, waitBefore] = [cpuTime(pid), timeWait()];
  const child = Bun.spawn(on(OTHERS, command), { stdout: "pipe", stderr: "ignore" });
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

/** The configurations of other proxies that count requests by key and forward them over kept connections, by the program's name. */
const nginxPort = freePort();
const nginxTemporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map((of) => `${of}_temp_path ${folder}/${of};`).join(" ");
const haproxyPort = freePort();
const proxies = {
  nginx: {
    port: nginxPort,
    command: ["-c", join(folder, "nginx.conf"), "-p", folder],
    config: `user root; worker_processes 1; daemon off; error_log /dev/null; pid ${folder}/nginx.pid;
events { worker_connections 4096; }
http {
  access_log off; keepalive_requests 1000000000; ${nginxTemporary}
  limit_req_zone $http_x_api_key zone=keys:10m rate=1000000r/s;
  upstream backend { server 127.0.0.1:${backendPort}; keepalive 1024; keepalive_requests 1000000000; }
  server {
    listen 127.0.0.1:${nginxPort} backlog=4096;
    location / { limit_req zone=keys burst=1000000 nodelay; proxy_pass http://backend; proxy_http_version 1.1; proxy_set_header Connection ""; }
  }
}
`,
  },
  haproxy: {
    port: haproxyPort,
    command: ["-f", join(folder, "haproxy.conf"), "-db"],
    config: `global
  maxconn 4096
  nbthread 1
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  http-reuse always
frontend all
  bind 127.0.0.1:${haproxyPort} backlog 4096
  stick-table type string len 64 size 100k expire 1m store http_req_rate(1m)
  http-request track-sc0 req.hdr(x-api-key)
  http-request deny deny_status 429 if { sc_http_req_rate(0) gt 1000000000 }
  default_backend all
backend all
  server one 127.0.0.1:${backendPort}
`,
  },
};

try {
  spawn(OTHERS, [process.execPath, "backend.ts"]);
  await answering(`http://127.0.0.1:${backendPort}`);
  const bare = spawn(SUBJECT, [process.execPath, "bare.ts"]);
  const gateway = spawn(SUBJECT, program, {
    SLUICE_PORT: String(port),
    SLUICE_HOST: "127.0.0.1",
    SLUICE_ADMIN_TOKEN: "bench-token-0123456789",
  });
  const url = `http://127.0.0.1:${port}/`;
  await answering(`http://127.0.0.1:${barePort}/`);
  await answering(url, { "x-api-key": KEY });
  await fetch(url, { headers: { "x-api-key": `${KEY}-limited` } });

  /** Another gateway beside it, by the same configuration with something more. */
  const beside = async (name: string, more: object, cores = SUBJECT): Promise<[pid: number, url: string]> => {
    const its = freePort();
    writeFileSync(join(folder, `${name}.json`), JSON.stringify({ ...config, ...more }));
    const { pid } = spawn(cores, [...program, "--config", `${name}.json`, "--port", String(its), "--data", name], {
      SLUICE_HOST: "127.0.0.1",
      SLUICE_ADMIN_TOKEN: "bench-token-0123456789",
    });
    await answering(`http://127.0.0.1:${its}/`, { "x-api-key": KEY });
    return [pid, `http://127.0.0.1:${its}/`];
  };
  const logged = await beside("logged", { logging: { accessLog: true } });
  const withRedis: Subject[] = [];
  if (Bun.which("redis-server") !== null) {
    spawn(OTHERS, ["redis-server", "--port", String(redisPort), "--save", "", "--appendonly", "no"]);
    for (const mode of ["exact", "leased"]) {
      const its = await beside(mode, { redis: { url: `redis://127.0.0.1:${redisPort}`, mode, prefix: mode } });
      withRedis.push([`sluice: limits in Redis, ${mode}`, ...its, { "x-api-key": KEY }]);
    }
  }

  const others: Subject[] = [];
  for (const [name, { port: its, command, config: text }] of Object.entries(proxies)) {
    if (Bun.which(name) === null) continue;
    writeFileSync(join(folder, `${name}.conf`), text);
    const { pid } = spawn(SUBJECT, [name, ...command]);
    await answering(`http://127.0.0.1:${its}/`, { "x-api-key": KEY });
    others.push([`${name}: one limit, forwarded`, pid, `http://127.0.0.1:${its}/`, { "x-api-key": KEY }]);
  }
  const cores = Array.from({ length: Math.min(WORKERS, cpus().length) }, (_, core) => core).join(",");
  const severally: Subject[] =
    WORKERS === 1
      ? []
      : [
          [
            `sluice: the same, ${WORKERS} workers`,
            ...(await beside("workers", { server: { workers: WORKERS } }, cores)),
            { "x-api-key": KEY },
          ],
        ];

  const overHttp2: Subject[] =
    Bun.which("h2load") === null
      ? []
      : [1, 16].map((streams) => [`sluice: the same, HTTP/2, ${streams} at a time`, gateway.pid, url, { "x-api-key": KEY }, streams]);

  const one: Subject = ["sluice: key, two limits, forwarded", gateway.pid, url, { "x-api-key": KEY }];
  const all: Subject[] = [
    ["bare Bun.serve + fetch", bare.pid, `http://127.0.0.1:${barePort}/`, { "x-api-key": KEY }],
    ...others,
    one,
    ...severally,
    ["sluice: token, two limits, forwarded", gateway.pid, url, { authorization: `Bearer ${TOKEN}` }],
    ["sluice: the same, with an empty hook", gateway.pid, `${url}hooked`, { "x-api-key": KEY }],
    ["sluice: the same, with an access log", ...logged, { "x-api-key": KEY }],
    ...overHttp2,
    ...withRedis,
    ["sluice: key, two limits, cache hit", gateway.pid, `${url}kept`, { "x-api-key": KEY }],
    ["sluice: 429", gateway.pid, url, { "x-api-key": `${KEY}-limited` }],
    ["sluice: 401", gateway.pid, url, { "x-api-key": "nobody-has-this-key-0123" }],
  ];
  const [reference, ...compared] = all as [Subject, ...Subject[]];
  const subjects = [reference, ...compared.filter(([name]) => ONLY.test(name))];
  // Once without counting: the code is compiled while it warms up.
  for (const subject of subjects) await load(subject, 64, Math.max(SECONDS, WARM_UP));
  console.log(rowOf("", ["connections", "requests/s", "CPU µs/req", "of bare", "errors", "TIME_WAIT"]));
  const measured = new Map<number, Map<string, Figures[]>>([64, 1000].map((connections) => [connections, new Map()]));
  for (let round = 0; round < ROUNDS; round++)
    for (const [connections, figures] of measured)
      for (const subject of subjects) figures.set(subject[0], [...(figures.get(subject[0]) ?? []), await load(subject, connections)]);
  for (const [connections, figures] of measured) {
    const of = (name: string) => figures.get(name) as Figures[];
    /** The median of what one costs or does, as a share of the other in the same round. */
    const share = (what: "cpu" | "perSecond", one: readonly Figures[], other: readonly Figures[]) =>
      median(one.map((each, i) => each[what] / (other[i] as Figures)[what]));
    for (const [name] of subjects) {
      const its = of(name);
      const errors = its.reduce((sum, each) => sum + each.errors, 0);
      const waiting = its.reduce((sum, each) => sum + each.timeWait, 0);
      console.log(
        rowOf(name, [
          String(connections),
          String(Math.round(median(its.map(({ perSecond }) => perSecond)))),
          median(its.map(({ cpu }) => cpu)).toFixed(1),
          share("cpu", its, of(reference[0])).toFixed(2),
          /\d{3}$/.test(name) ? "-" : String(errors),
          `${waiting < 0 ? "" : "+"}${waiting}`,
        ]),
      );
      const few = measured.get(64)?.get(name);
      if (connections !== 64 && few !== undefined) console.log(`  ${share("perSecond", its, few).toFixed(2)} of its throughput at 64`);
    }
    for (const [name] of severally) {
      if (!figures.has(name) || !figures.has(one[0])) continue;
      console.log(
        `${WORKERS} workers at ${connections} connections: ${share("cpu", of(name), of(one[0])).toFixed(2)} of one worker's CPU per request, ${share("perSecond", of(name), of(one[0])).toFixed(2)} of its throughput`,
      );
    }
  }
} finally {
  await programs.end();
  rmSync(folder, { recursive: true, force: true });
}
if (ONLY.test("models")) await benchModels(program, false);
