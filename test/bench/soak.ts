// Half an hour's worth of mixed traffic in two minutes: memory must not grow after the first. `bun run soak [--seconds N] [--binary dist/sluice]`
import { readFileSync } from "node:fs";
import { type Deed, flaky, randomFrom, underLoad } from "../support/flaky.ts";
import { start } from "../support/process.ts";

const option = (name: string): string | undefined => {
  const at = Bun.argv.indexOf(`--${name}`);
  return at < 0 ? undefined : Bun.argv[at + 1];
};
const SECONDS = Number(option("seconds") ?? 120);
const random = randomFrom(3);
const below = (max: number): number => Math.floor(random() * max);

using behind = flaky(({ path }): Deed => {
  if (random() < 0.01) return "reset";
  if (random() < 0.01) return { status: 503 };
  const size = below(4000);
  return {
    status: 200,
    headers: path.startsWith("/kept") ? { "Cache-Control": `max-age=${below(5)}`, ETag: `"${size}"`, Vary: "Accept" } : {},
    body: "x".repeat(size),
  };
});
await using gateway = await start({
  config: {
    server: { trustedProxies: ["127.0.0.1"] },
    logging: { accessLog: false },
    guard: null,
    limits: { maxSubjects: 20_000 },
    cache: { maxSize: "8mb" },
    tiers: {
      anonymous: { limits: [{ algorithm: "sliding-log", limit: 20, window: "10s" }] },
      plain: { limits: [{ algorithm: "concurrency", limit: 1000 }] },
    },
    consumers: [{ id: "one", tier: "plain", keys: ["a-key-for-the-soak-0123"] }],
    upstreams: { main: { targets: [{ url: behind.url }], breaker: { failureThreshold: 50 }, healthCheck: { path: "/", interval: "1s" } } },
    routes: [
      { name: "all", path: "/", upstream: "main", auth: "optional", stripPrefix: false, retry: { baseDelay: "10ms" } },
      {
        name: "kept",
        path: "/kept",
        upstream: "main",
        auth: "none",
        stripPrefix: false,
        cache: { ttl: "2s" },
        retry: { baseDelay: "10ms" },
      },
    ],
  },
});

const ip = () => `10.${below(256)}.${below(256)}.${below(256)}`;
const deeds: (() => Promise<unknown>)[] = [
  () => fetch(`${gateway.url}/a/${below(1e9)}`, { headers: { "x-forwarded-for": ip() } }).then((answer) => answer.arrayBuffer()),
  () =>
    fetch(`${gateway.url}/b`, { headers: { "x-api-key": "a-key-for-the-soak-0123", "x-request-id": `r${below(1e9)}` } }).then((answer) =>
      answer.arrayBuffer(),
    ),
  () => fetch(`${gateway.url}/b`, { headers: { "x-api-key": `nobody-has-this-${below(1e9)}` } }).then((answer) => answer.arrayBuffer()),
  () => fetch(`${gateway.url}/kept/${below(50_000)}`, { headers: { accept: `type/${below(3)}` } }).then((answer) => answer.arrayBuffer()),
  () => fetch(`${gateway.url}/kept/${below(50)}`, { method: "POST", body: "x".repeat(below(2000)) }).then((answer) => answer.arrayBuffer()),
  () =>
    fetch(`${gateway.url}/c`, { method: "PUT", body: "x".repeat(below(100_000)), headers: { "x-forwarded-for": ip() } }).then((answer) =>
      answer.arrayBuffer(),
    ),
  () => fetch(`${gateway.url}/d`, { signal: AbortSignal.timeout(1) }).then((answer) => answer.arrayBuffer()),
];
let requests = 0;
const load = underLoad(32, async () => {
  await deeds[below(deeds.length)]?.().catch(() => {});
  requests++;
});
const resident = (): number => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${gateway.pid}/status`, "utf8"))?.[1]) / 1024;
const seen: number[] = [];
for (let second = 5; second <= SECONDS; second += 5) {
  await Bun.sleep(5000);
  seen.push(resident());
  console.log(`${String(second).padStart(4)} s  ${seen.at(-1)?.toFixed(0).padStart(4)} MB  ${requests} requests`);
}
await load.stop();
await Bun.sleep(1000);
// Whatever went wrong on the way, nothing may still count as under way.
const { items } = (await (await gateway.admin("GET", "/admin/breakers")).json()) as { items: { inFlight: number }[] };
const underWay = items.reduce((sum, { inFlight }) => sum + inFlight, 0);
console.log(`${underWay} requests still count as under way`);
const half = Math.floor(seen.length / 2);
const [first, second] = [Math.max(...seen.slice(0, half)), Math.max(...seen.slice(half))];
console.log(`first half at most ${first.toFixed(0)} MB, second half at most ${second.toFixed(0)} MB`);
// A garbage collector is not exact to the megabyte.
process.exitCode = second > first * 1.05 + 5 || underWay > 0 ? 1 : 0;
