// Activities a second and CPU time per activity, for each queue and each sink, in one run: the gateway on one core, everybody else on the others.
// `bun test/bench/activities.ts [--seconds N] [--binary dist/sluice] [--batch N] [NAME…]`. Needs redis-server, Java with Maven, and PostgreSQL; what is not there is left out, and told.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { systemClock } from "../../src/values/clock.ts";
import { BigQueryServer } from "../support/bigquery.ts";
import { startKafka } from "../support/kafka.ts";
import { postgresServer } from "../support/postgres.ts";
import { ADMIN_TOKEN, freePort } from "../support/process.ts";
import { programAt } from "../support/programs.ts";
import { redisServer } from "../support/redis.ts";

const words = Bun.argv.slice(2);
const option = (name: string): string | undefined => {
  const at = words.indexOf(`--${name}`);
  return at < 0 ? undefined : words.splice(at, 2)[1];
};
const SECONDS = Number(option("seconds") ?? 10);
const BATCH = Number(option("batch") ?? 200);
const BINARY = option("binary");
const USERS = 8;

interface Path {
  readonly name: string;
  readonly activities: object;
  readonly redis?: string;
}

const here = (...programs: Parameters<typeof programAt>[0][]): boolean => programs.every((program) => programAt(program) !== null);
const broker = here("java", "mvn") ? await startKafka() : null;
const postgres = here("postgres") ? await postgresServer() : null;
const redis = here("redis-server") ? await redisServer() : null;
const bigquery = await BigQueryServer.start({ clock: systemClock });
const credentials = join(mkdtempSync(join(tmpdir(), "sluice-bench-key-")), "key.json");
writeFileSync(credentials, await bigquery.key());

const toBigQuery = { type: "bigquery", project: bigquery.project, dataset: bigquery.dataset, endpoint: bigquery.url, credentials };
const kafka = broker === null ? null : { kafka: { brokers: [broker.address] } };
const paths: readonly (Path | null)[] = [
  { name: "embedded → sqlite", activities: {} },
  postgres && { name: "embedded → postgres", activities: { sinks: [{ type: "postgres", url: postgres.url, schema: "one" }] } },
  { name: "embedded → bigquery (a local server)", activities: { sinks: [toBigQuery] } },
  broker && { name: "embedded → kafka", activities: { sinks: [{ type: "kafka", brokers: [broker.address], topic: "sink" }] } },
  redis && { name: "redis → sqlite", activities: {}, redis: redis.url },
  kafka && { name: "kafka → sqlite", activities: { queue: { kafka: { ...kafka.kafka, topic: "one" } } } },
  kafka &&
    postgres && {
      name: "kafka → postgres",
      activities: { queue: { kafka: { ...kafka.kafka, topic: "two" } }, sinks: [{ type: "postgres", url: postgres.url, schema: "two" }] },
    },
];

const isSplit = cpus().length > 1 && Bun.which("taskset") !== null;
const program = BINARY === undefined ? [process.execPath, resolve(import.meta.dir, "../../src/main.ts")] : [resolve(BINARY)];

/** Seconds of CPU time that a process has used (Linux). */
function cpuTime(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]?.split(" ") ?? [];
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

const bodies = Array.from({ length: 16 }, (_, body) =>
  JSON.stringify({
    activities: Array.from({ length: BATCH }, (_, i) => ({
      operation: "insert",
      table: "bench",
      colNames: ["id", "name", "price"],
      colTypes: ["INTEGER", "VARCHAR(40)", "DECIMAL(12,2)"],
      colValues: [body * BATCH + i, `user ${i % 97}`, `${i}.25`],
    })),
  }),
);

async function measure({ activities, redis }: Path): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), "sluice-bench-"));
  const config = {
    logging: { level: "warn", accessLog: false },
    tiers: { anonymous: { limits: [] } },
    ...(redis === undefined ? {} : { redis: { url: redis, timeout: "1s" } }),
    activities: { auth: "none", maxBacklog: 100_000_000, maxBacklogSize: "8gb", ...activities },
  };
  writeFileSync(join(folder, "config.json"), JSON.stringify(config));
  const port = freePort();
  const url = `http://127.0.0.1:${port}`;
  const child = Bun.spawn([...(isSplit ? ["taskset", "-c", "0"] : []), ...program, "serve"], {
    cwd: folder,
    env: { ...process.env, SLUICE_HOST: "127.0.0.1", SLUICE_PORT: String(port), SLUICE_ADMIN_TOKEN: ADMIN_TOKEN },
    stdout: "ignore",
    stderr: "inherit",
  });
  const post = async (body: string): Promise<boolean> => {
    const answer = await fetch(`${url}/api/activities`, { method: "POST", headers: { "content-type": "application/json" }, body }).catch(
      () => null,
    );
    await answer?.text();
    return answer?.status === 202;
  };
  const waiting = async (): Promise<number> => {
    const answer = await fetch(`${url}/admin/activities`, { headers: { authorization: `Bearer ${ADMIN_TOKEN}` } });
    return ((await answer.json()) as { backlog: { activities: number } }).backlog.activities;
  };
  const settled = async (): Promise<void> => {
    while ((await waiting()) > 0) await Bun.sleep(50);
  };
  try {
    // Tables, topics and connections are made before it counts.
    while (!(await post(bodies[0] as string))) await Bun.sleep(50);
    await settled();
    const cpuBefore = cpuTime(child.pid);
    const from = performance.now();
    let accepted = 0;
    await Promise.all(
      Array.from({ length: USERS }, async (_, user) => {
        for (let i = user; performance.now() - from < SECONDS * 1000; i++)
          if (await post(bodies[i % bodies.length] as string)) accepted += BATCH;
          else await Bun.sleep(20);
      }),
    );
    const taking = (performance.now() - from) / 1000;
    await settled();
    const all = (performance.now() - from) / 1000;
    const cpu = cpuTime(child.pid) - cpuBefore;
    return `${Math.round(accepted / taking)} accepted/s, ${Math.round(accepted / all)} accepted and applied/s, ${((cpu / accepted) * 1e6).toFixed(1)} µs of CPU each (${Math.round(accepted / cpu)}/s a core)`;
  } finally {
    child.kill("SIGKILL");
    await child.exited;
    rmSync(folder, { recursive: true, force: true });
  }
}

console.log(`batches of ${BATCH}, ${USERS} at once, ${SECONDS} s each`);
for (const path of paths)
  if (path !== null && (words.length === 0 || words.some((word) => path.name.includes(word))))
    console.log(`${path.name.padEnd(40)} ${await measure(path)}`);
for (const [name, server] of Object.entries({ kafka: broker, postgres, redis }))
  if (server === null) console.log(`${name} is not here: its paths are left out`);
for (const server of [broker, postgres, redis, bigquery]) await server?.[Symbol.asyncDispose]();
process.exit(0);
