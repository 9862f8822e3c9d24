import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

/** A gateway that is put under load. */
export interface LoadGateway {
  readonly url: string;
  /** The key to send; `undefined`: none. */
  readonly key: string | undefined;
  /** The file of its tables, where it is known. */
  readonly database: string | undefined;
  /** Gives how many activities wait to be applied in one of its sinks; `null` where nobody may know. */
  waiting(): Promise<number | null>;
  close(): Promise<void>;
}

interface State {
  readonly backlog: { readonly activities: number };
  /** `waiting` is `null` while the queue could not be asked. */
  readonly sinks?: readonly { readonly waiting: number | null }[];
}

/** Asks the admin API, by a token. */
const asker = (url: string, token: string) => (method: string, path: string, body?: unknown) =>
  fetch(new URL(path, url), {
    method,
    headers: { authorization: `Bearer ${token}`, ...(body === undefined ? {} : { "content-type": "application/json" }) },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
type Ask = ReturnType<typeof asker>;

async function waitingAt(ask: Ask): Promise<number | null> {
  const answer = await ask("GET", "/admin/activities?limit=1").catch(() => null);
  if (answer?.ok !== true) return null;
  const { backlog, sinks = [] } = (await answer.json()) as State;
  return Math.max(backlog.activities, ...sinks.map(({ waiting }) => waiting ?? 0));
}

/** Starts a gateway without limits in a folder of its own, which goes afterwards. `binary`: the compiled program, instead of the source. */
export async function ownGateway(binary: string | undefined): Promise<LoadGateway> {
  const folder = mkdtempSync(join(tmpdir(), "sluice-load-"));
  const config = { logging: { level: "warn" }, tiers: { anonymous: { limits: [] } }, activities: { auth: "none" } };
  writeFileSync(join(folder, "config.json"), JSON.stringify(config));
  const program = binary === undefined ? [process.execPath, resolve(import.meta.dir, "../src/main.ts")] : [resolve(binary)];
  using listener = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data: () => {} } });
  const { port } = listener;
  listener.stop(true);
  const token = crypto.randomUUID();
  const child = Bun.spawn([...program, "--host", "127.0.0.1", "--port", String(port)], {
    cwd: folder,
    env: { ...process.env, SLUICE_ADMIN_TOKEN: token },
    stdout: "inherit",
    stderr: "ignore",
    // Ctrl-C ends the load, whose rows are looked at afterwards.
    detached: true,
  });
  const clean = (): void => rmSync(folder, { recursive: true, force: true });
  /** Ends it without waiting, when the load is ended so. */
  const abandon = (): void => {
    child.kill("SIGKILL");
    clean();
  };
  process.on("exit", abandon);
  process.once("SIGTERM", () => process.exit(143));
  const url = `http://127.0.0.1:${port}`;
  while (!(await isThere(url))) {
    if (child.exitCode !== null) throw new Error(`the gateway ended with ${child.exitCode} before it answered`);
    await Bun.sleep(20);
  }
  return {
    url,
    key: undefined,
    database: join(folder, "data/activities.db"),
    waiting: () => waitingAt(asker(url, token)),
    close: async () => {
      const cpu = secondsOf(child.pid);
      if (cpu !== null) console.log(`gateway: ${cpu.toFixed(2)} s of CPU`);
      child.kill("SIGTERM");
      await child.exited;
      process.off("exit", abandon);
      clean();
    },
  };
}

/**
 * Takes a gateway that runs. With an admin token and without a key it makes a consumer and a tier without limits, which go afterwards. Throws where
 * nothing answers.
 */
export async function namedGateway(
  url: string,
  { key, token, database }: { readonly key: string | undefined; readonly token: string | undefined; readonly database: string | undefined },
): Promise<LoadGateway> {
  if (!(await isThere(url)))
    throw new Error(`nothing answers at ${url}: start the gateway (the demo: bun start), or name another by --url`);
  const known = { url, database };
  if (token === undefined) return { ...known, key, waiting: async () => null, close: async () => {} };
  const ask = asker(url, token);
  const waiting = () => waitingAt(ask);
  if (key !== undefined) return { ...known, key, waiting, close: async () => {} };
  const id = `load-${Date.now()}`;
  const made = await unlimitedKey(ask, id);
  if (typeof made !== "string") {
    console.log(`no consumer without limits could be made, so no key is sent: ${made.why}`);
    return { ...known, key, waiting, close: async () => {} };
  }
  console.log(`made the consumer ${id} without limits, which goes afterwards`);
  return { ...known, key: made, waiting, close: () => forget(ask, id) };
}

/** Makes a consumer and a tier without limits, both of this name. Gives a key, or the reason why that can't be done. */
async function unlimitedKey(ask: Ask, id: string): Promise<string | { readonly why: string }> {
  let isBegun = false;
  try {
    await json(await ask("POST", "/admin/tiers", { name: id, limits: [] }));
    isBegun = true;
    await json(await ask("POST", "/admin/consumers", { id, tier: id }));
    return ((await json(await ask("POST", "/admin/keys", { consumer: id, name: "load:activities" }))) as { key: string }).key;
  } catch (error) {
    if (isBegun) await forget(ask, id);
    return { why: error instanceof Error ? error.message : String(error) };
  }
}

async function forget(ask: Ask, id: string): Promise<void> {
  for (const path of [`/admin/consumers/${id}?force=true`, `/admin/tiers/${id}`]) {
    const { status } = await ask("DELETE", path);
    if (status >= 300 && status !== 404) console.error(`load:activities: DELETE ${path} was answered with ${status}: do it by hand`);
  }
}

async function json(answer: Response): Promise<unknown> {
  const text = await answer.text();
  if (!answer.ok) throw new Error(`${answer.status} ${text.slice(0, 200)}`);
  return JSON.parse(text);
}

const isThere = (url: string): Promise<boolean> =>
  fetch(new URL("/health", url)).then(
    () => true,
    () => false,
  );

/** Gives the seconds of CPU that a process has had; `null` where the system does not say it so (it is Linux that does). */
function secondsOf(pid: number): number | null {
  if (!existsSync(`/proc/${pid}/stat`)) return null;
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) / 100;
}
