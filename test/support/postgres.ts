import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { SQL } from "bun";
import { freePort } from "./process.ts";
import { programAt } from "./programs.ts";
import { CERTIFICATE, PRIVATE_KEY } from "./tls.ts";

/** A real PostgreSQL of the test's own, in a folder that goes with it. What is committed is on the disk, as in production. */
export interface PostgresServer {
  readonly port: number;
  /** Leads to the database as its owner, with the password where there is one. */
  readonly url: string;
  readonly user: string;
  /** Gives a connection for the test to look, and to meddle; it closes with the server. */
  client(url?: string): SQL;
  /** Ends it in good order; sessions are ended ("fast"). */
  stop(): Promise<void>;
  /** Ends all of it at once, as a crash of the machine would. */
  kill(): Promise<void>;
  /** Starts it again on the same data; waits until it answers. */
  start(): Promise<void>;
  /** Stops all its processes where they are (SIGSTOP), or lets them go on (SIGCONT). */
  signal(signal: "SIGSTOP" | "SIGCONT"): void;
  [Symbol.asyncDispose](): Promise<void>;
}

export interface PostgresOptions {
  /** Wanted from everybody (SCRAM); left out: nobody is asked for one. */
  readonly password?: string;
  /** Takes TLS alone, with the tests' certificate: for localhost and 127.0.0.1, signed by itself. It listens at 127.0.0.2 as well, for which it has none. */
  readonly tls?: boolean;
  /** More settings, such as `max_connections=10`. */
  readonly settings?: readonly string[];
}

const USER = "sluice";

/** PostgreSQL runs as root nowhere. */
const asOther = (): readonly string[] =>
  process.getuid?.() === 0 ? ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] : [];

async function run(args: readonly string[], stdin = ""): Promise<void> {
  const child = Bun.spawn([...args], { stdin: new Blob([stdin]), stdout: "ignore", stderr: "pipe", cwd: "/" });
  const [text, status] = await Promise.all([new Response(child.stderr).text(), child.exited]);
  if (status !== 0) throw new Error(`${args.join(" ")} ended with ${status}:\n${text}`);
}

const childrenOf = (pid: number): number[] => {
  try {
    return readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim().split(/\s+/).filter(Boolean).map(Number);
  } catch {
    return [];
  }
};
const isThere = (pid: number): boolean => {
  try {
    return !/\) Z /.test(readFileSync(`/proc/${pid}/stat`, "utf8"));
  } catch {
    return false;
  }
};
const send = (pid: number, signal: NodeJS.Signals): void => {
  try {
    process.kill(pid, signal);
  } catch {
    // Gone already.
  }
};

/** Starts a PostgreSQL with an empty database on a free port. Fails where there is none: .ci/run installs one. */
export async function postgresServer({ password, tls = false, settings = [] }: PostgresOptions = {}): Promise<PostgresServer> {
  const postgres = programAt("postgres");
  if (postgres === null) throw new Error("there is no PostgreSQL here");
  const folder = mkdtempSync(join(tmpdir(), "sluice-postgres-"));
  const data = join(folder, "data");
  const owned = async (...paths: string[]) => {
    if (process.getuid?.() === 0) await run(["chown", "postgres:postgres", ...paths]);
  };
  try {
    await owned(folder);
    const secret = join(folder, "password");
    if (password !== undefined) {
      writeFileSync(secret, password, { mode: 0o600 });
      await owned(secret);
    }
    const auth = password === undefined ? ["--auth=trust"] : ["--auth=scram-sha-256", `--pwfile=${secret}`];
    await run([
      ...asOther(),
      join(dirname(postgres), "initdb"),
      `--pgdata=${data}`,
      `--username=${USER}`,
      "--encoding=UTF8",
      "--locale=C",
      "--no-sync",
      ...auth,
    ]);
    if (tls) {
      writeFileSync(join(data, "server.crt"), CERTIFICATE);
      writeFileSync(join(data, "server.key"), PRIVATE_KEY, { mode: 0o600 });
      await owned(join(data, "server.crt"), join(data, "server.key"));
      writeFileSync(join(data, "pg_hba.conf"), `hostssl all all all ${password === undefined ? "trust" : "scram-sha-256"}\n`);
    }
  } catch (error) {
    rmSync(folder, { recursive: true, force: true });
    throw error;
  }
  return launched(postgres, folder, [...(tls ? ["ssl=on"] : []), ...settings], password, tls);
}

async function launched(
  postgres: string,
  folder: string,
  settings: readonly string[],
  password: string | undefined,
  tls: boolean,
): Promise<PostgresServer> {
  const port = freePort();
  const addresses = tls ? "127.0.0.1,127.0.0.2" : "127.0.0.1";
  const all = [`listen_addresses=${addresses}`, `port=${port}`, "unix_socket_directories=", "shared_buffers=64MB", ...settings];
  const launch = () =>
    Bun.spawn([...asOther(), postgres, "-D", join(folder, "data"), ...all.flatMap((setting) => ["-c", setting])], {
      cwd: "/",
      stdout: "ignore",
      stderr: Bun.file(join(folder, "log")),
    });
  const url = `postgres://${USER}${password === undefined ? "" : `:${encodeURIComponent(password)}`}@127.0.0.1:${port}/postgres`;
  const clients = new Set<SQL>();
  const client = (to = url): SQL => {
    const made = new SQL(to, { max: 4, ...(tls ? { tls: { rejectUnauthorized: true, ca: CERTIFICATE } } : {}) });
    clients.add(made);
    return made;
  };
  let child = launch();
  const answers = async (): Promise<void> => {
    for (;;) {
      if (child.exitCode !== null) {
        // The one before may not be gone altogether.
        if (!readFileSync(join(folder, "log"), "utf8").includes("is still in use"))
          throw new Error(`postgres ended with ${child.exitCode}:\n${readFileSync(join(folder, "log"), "utf8")}`);
        child = launch();
      }
      const probe = client();
      const isUp = await probe`SELECT 1`.then(
        () => true,
        () => false,
      );
      clients.delete(probe);
      await probe.close({ timeout: 0 }).catch(() => {});
      if (isUp) return;
      await Bun.sleep(20);
    }
  };
  const kill = async (): Promise<void> => {
    const pids = childrenOf(child.pid);
    child.kill("SIGKILL");
    for (const pid of pids) send(pid, "SIGKILL");
    await child.exited;
    while (pids.some(isThere)) await Bun.sleep(5);
  };
  await answers();
  return {
    port,
    url,
    user: USER,
    client,
    stop: async () => {
      child.kill("SIGINT");
      await child.exited;
    },
    kill,
    start: async () => {
      child = launch();
      await answers();
    },
    signal: (signal) => {
      for (const pid of [child.pid, ...childrenOf(child.pid)]) send(pid, signal);
    },
    [Symbol.asyncDispose]: async () => {
      for (const each of clients) await each.close({ timeout: 0 }).catch(() => {});
      if (child.exitCode === null) await kill();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
