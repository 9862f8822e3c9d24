// What a million keys cost: memory, start, import, look-ups. `bun test/bench/keys.ts [--keys N] [--binary dist/sluice]`
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Audit } from "../../src/audit/audit.ts";
import { loadConfig } from "../../src/config/load.ts";
import { Records } from "../../src/gateway/records.ts";
import { Secrets } from "../../src/records/sealing.ts";
import { aloneBus } from "../../src/shared/bus.ts";
import { openStorage } from "../../src/storage/open.ts";
import { systemClock } from "../../src/values/clock.ts";
import { folder, start } from "../support/process.ts";

/** Whose the keys are: all of them one consumer's, or each a consumer's of its own. */
type Owner = "one" | "own";

const option = (name: string): string | undefined => {
  const at = Bun.argv.indexOf(`--${name}`);
  return at < 0 ? undefined : Bun.argv[at + 1];
};
const KEYS = Number(option("keys") ?? 1_000_000);
const BATCH = 10_000;
const LOOK_UPS = 200_000;
const CONFIG = { logging: { accessLog: false }, tiers: { free: { limits: [{ algorithm: "fixed-window", limit: 10, window: "1m" }] } } };

const secretOf = (i: number): string => `a-key-of-somebody-${String(i).padStart(8, "0")}`;
const hashOf = (i: number): string => Bun.SHA256.hash(secretOf(i), "hex");
const consumerOf = (owner: Owner, i: number): string => (owner === "one" ? "acme" : `consumer-${i}`);
const megabytes = (bytes: number): string => `${Math.round(bytes / 1e6)} MB`;
/** The CPU time of this process in milliseconds: others on the machine count less than by the clock. */
const cpu = (): number => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
};
const say = (what: string, value: string): void => console.log(`  ${what.padEnd(44)}${value.padStart(16)}`);

/** Fills a database as the admin API would, but for the time that it takes. */
function fill(path: string, owner: Owner): void {
  const storage = openStorage(path);
  const { client } = storage;
  client.run("PRAGMA synchronous = OFF");
  const addConsumer = client.query(
    "INSERT OR IGNORE INTO consumers (id, tier, enabled, version, created_at, updated_at) VALUES (?1, 'free', 1, 1, 1, 1)",
  );
  const addKey = client.query(
    "INSERT INTO keys (id, hash, start, end, consumer, enabled, version, created_at, updated_at) VALUES (?1, ?2, 'a-key-of', '0000', ?3, 1, 1, 1, 1)",
  );
  client.transaction(() => {
    for (let i = 0; i < KEYS; i++) {
      addConsumer.run(consumerOf(owner, i));
      addKey.run(`key_${Bun.randomUUIDv7("hex").replaceAll("-", "")}`, hashOf(i), consumerOf(owner, i));
    }
    client.run("DELETE FROM changes");
  })();
  storage.close();
}

/** Gives a number of bytes out of what Linux tells of a process. */
const bytesOf = (pid: number, field: "VmRSS" | "VmHWM"): number =>
  Number(new RegExp(`${field}:\\s+(\\d+)`).exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]) * 1024;

/** The CPU time of another process in milliseconds: Linux counts it in hundredths of a second. */
const cpuOf = (pid: number): number => {
  const [, ...fields] = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ");
  const [utime = 0, stime = 0] = (fields.join(") ").split(" ") as string[]).slice(11, 13).map(Number);
  return (utime + stime) * 10;
};

/** Starts the gateway in a folder, and gives the milliseconds until it answers and its memory when it has come to rest. */
async function resting(cwd: string): Promise<{ ready: number; bytes: number }> {
  const begun = performance.now();
  await using gateway = await start({ cwd, config: CONFIG });
  const ready = performance.now() - begun;
  await Bun.sleep(5000);
  return { ready, bytes: bytesOf(gateway.pid, "VmRSS") };
}

async function importing(idle: number): Promise<void> {
  await using gateway = await start({ config: CONFIG });
  await gateway.admin("POST", "/admin/consumers", { id: "acme", tier: "free" });
  let milliseconds = 0;
  const before = cpuOf(gateway.pid);
  for (let i = 0; i < KEYS; i += BATCH) {
    const body = JSON.stringify({ keys: Array.from({ length: BATCH }, (_, j) => ({ consumer: "acme", hash: hashOf(i + j) })) });
    const begun = performance.now();
    const { status } = await gateway.admin("POST", "/admin/keys/import", body);
    milliseconds += performance.now() - begun;
    if (status !== 201) throw new Error(`an import was answered ${status}`);
  }
  say("import", `${Math.round(KEYS / (milliseconds / 1000)).toLocaleString("en")} keys/s`);
  say("import, CPU of the gateway", `${Math.round(((cpuOf(gateway.pid) - before) * 1000) / KEYS)} µs a key`);
  say("import, memory at the peak", megabytes(bytesOf(gateway.pid, "VmHWM")));
  await Bun.sleep(5000);
  say("import, memory above idle afterwards", megabytes(bytesOf(gateway.pid, "VmRSS") - idle));
}

/** Opens the records alone: what loading and looking up cost without the rest of the gateway. */
function lookUps(path: string): void {
  const loaded = loadConfig(JSON.stringify(CONFIG), {});
  if ("faults" in loaded) throw new Error(JSON.stringify(loaded.faults));
  const { config } = loaded;
  const storage = openStorage(path);
  const nothing = () => {};
  Bun.gc(true);
  const unloaded = process.memoryUsage.rss();
  const begun = cpu();
  const deps = {
    storage,
    clock: systemClock,
    audit: new Audit({ storage, clock: systemClock }),
    secrets: new Secrets("secret", undefined),
  };
  const records = new Records({
    ...deps,
    config: () => config,
    onRoutes: nothing,
    endSessions: nothing,
    onPools: nothing,
    onIssuers: nothing,
    writeDown: nothing,
    onWebhooks: nothing,
    onFault: nothing,
    bus: aloneBus(),
  });
  records.declare(config);
  say("load", `${Math.round(cpu() - begun)} ms of CPU`);
  const { registry } = records;
  const now = systemClock.wall();
  const measure = (what: string, secrets: readonly string[], isGood: boolean, rounds = 3): void => {
    const times: number[] = [];
    for (let round = 0; round < rounds; round++) {
      const from = cpu();
      for (const secret of secrets) if ((typeof registry.find(secret, now) === "object") !== isGood) throw new Error(`${what}: ${secret}`);
      times.push(((cpu() - from) * 1e6) / secrets.length);
    }
    say(what, `${Math.round(Math.min(...times)).toLocaleString("en")} ns`);
  };
  const some = (of: (i: number) => number): string[] => Array.from({ length: LOOK_UPS }, (_, i) => secretOf(of(i)));
  const random = () => Math.floor(Math.random() * KEYS);
  const isSpread = some(random);
  measure("look-up: at first use, among all at random", isSpread, true, 1);
  measure("look-up: among all at random", isSpread, true, 1);
  Bun.gc(true);
  say("memory with as many in use as may be", megabytes(process.memoryUsage.rss() - unloaded));
  measure(
    "look-up: one of 20,000 in use",
    some((i) => i % 20_000),
    true,
  );
  measure(
    "look-up: the same key",
    some(() => 7),
    true,
  );
  measure(
    "look-up: unknown keys",
    some((i) => KEYS + i),
    false,
  );
  storage.close();
}

const asked = Bun.argv[2];
if (asked === "look-ups") lookUps(Bun.argv[3] ?? "");
else if (asked === "import") await importing(0);
else if (asked === "resting") {
  using empty = folder();
  const idle = await resting(empty.path);
  say("memory above idle", megabytes((await resting(Bun.argv[3] ?? "")).bytes - idle.bytes));
} else {
  using empty = folder();
  const idle = await resting(empty.path);
  console.log(`${KEYS.toLocaleString("en")} keys; idle: ${megabytes(idle.bytes)}, ready after ${Math.round(idle.ready)} ms`);
  for (const owner of ["one", "own"] as const) {
    console.log(owner === "one" ? "All of them one consumer's" : "Each a consumer's of its own");
    using data = folder();
    const path = join(data.path, "data", "sluice.db");
    fill(path, owner);
    const full = await resting(data.path);
    say("start, beyond that of an idle gateway", `${Math.round(full.ready - idle.ready)} ms`);
    say("memory above idle", megabytes(full.bytes - idle.bytes));
    // In a process of its own: no memory or compiled code is left over from another.
    Bun.spawnSync([process.execPath, import.meta.path, "look-ups", path, "--keys", String(KEYS)], { stdout: "inherit", stderr: "inherit" });
  }
  console.log("Imported by the admin API in batches of 10,000");
  await importing(idle.bytes);
}
