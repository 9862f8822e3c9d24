import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

/** The program under test: the source, or the compiled binary when SLUICE_BINARY names one. */
export const PROGRAM: readonly string[] = process.env.SLUICE_BINARY
  ? [resolve(process.env.SLUICE_BINARY)]
  : [process.execPath, resolve(import.meta.dir, "../../src/main.ts")];

export const ADMIN_TOKEN = "test-admin-token-0123456789";

export interface Outcome {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Folder {
  readonly path: string;
  [Symbol.dispose](): void;
}

/** A folder that goes when it is disposed of. */
export function folder(): Folder {
  const path = mkdtempSync(join(tmpdir(), "sluice-test-"));
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) };
}

/** Runs one command to its end. */
export async function run(
  args: readonly string[],
  options: {
    cwd: string;
    env?: Record<string, string>;
    /** A program that runs it, with its arguments. */
    through?: readonly string[];
    /** What it reads from stdin. */
    stdin?: string;
  },
): Promise<Outcome> {
  const child = Bun.spawn([...(options.through ?? []), ...PROGRAM, ...args], {
    cwd: options.cwd,
    env: { PATH: "/nonexistent", ...options.env },
    stdin: options.stdin === undefined ? "ignore" : new Blob([options.stdin]),
    stdout: "pipe",
    stderr: "pipe",
  });
  const [stdout, stderr, status] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text(), child.exited]);
  return { status, stdout, stderr };
}

export interface Running {
  readonly url: string;
  readonly port: number;
  readonly folder: string;
  readonly pid: number;
  /** All that was printed so far, both streams. */
  output(): string;
  /** Sends a signal and waits for the end. */
  stop(signal?: NodeJS.Signals): Promise<number>;
  /** Asks the admin API. */
  admin(method: string, path: string, body?: unknown, headers?: Record<string, string>): Promise<Response>;
  [Symbol.asyncDispose](): Promise<void>;
}

export interface StartOptions {
  /** Written to config.json; left out: no file, so the demo. */
  readonly config?: unknown;
  readonly env?: Record<string, string>;
  /** Left out: a free one. */
  readonly port?: number;
  readonly args?: readonly string[];
  /** How many files it may open; left out: as many as this process. */
  readonly files?: number;
  /** The certificate of a gateway that serves https; `true`: any will do. */
  readonly tls?: string | true;
  /** A word of the log that says that it serves; left out: it is asked. */
  readonly isReady?: string;
  /** An existing folder, which stays; left out: a new one, which goes. */
  readonly cwd?: string;
}

/** Starts the real gateway on a free port and waits until it answers. */
export async function start(options: StartOptions = {}): Promise<Running> {
  const own = options.cwd === undefined ? folder() : null;
  const cwd = options.cwd ?? own?.path ?? "";
  if (options.config !== undefined) writeFileSync(join(cwd, "config.json"), JSON.stringify(options.config, null, 2));
  const port = options.port ?? freePort();
  const within = options.files === undefined ? [] : ["/bin/sh", "-c", `ulimit -n ${options.files} && exec "$@"`, "sh"];
  const child = Bun.spawn([...within, ...PROGRAM, "serve", ...(options.args ?? [])], {
    cwd,
    env: { PATH: "/nonexistent", SLUICE_ADMIN_TOKEN: ADMIN_TOKEN, SLUICE_HOST: "127.0.0.1", SLUICE_PORT: String(port), ...options.env },
    stdout: "pipe",
    stderr: "pipe",
  });
  let printed = "";
  const read = async (stream: ReadableStream<Uint8Array>) => {
    const decoder = new TextDecoder();
    for await (const chunk of stream) printed += decoder.decode(chunk, { stream: true });
  };
  const reading = Promise.all([read(child.stdout), read(child.stderr)]);
  const url = `${options.tls === undefined ? "http" : "https"}://127.0.0.1:${port}`;
  const trust = options.tls === undefined ? {} : { tls: options.tls === true ? { rejectUnauthorized: false } : { ca: options.tls } };
  for (;;) {
    if (child.exitCode !== null) {
      await reading;
      throw new Error(`the gateway ended with ${child.exitCode}:\n${printed}`);
    }
    if (options.isReady !== undefined) {
      if (printed.includes(options.isReady)) break;
    } else if (
      await fetch(`${url}/health`, trust).then(
        (answer) => answer.ok,
        () => false,
      )
    )
      break;
    await Bun.sleep(10);
  }
  const stop = async (signal: NodeJS.Signals = "SIGTERM") => {
    child.kill(signal);
    const status = await child.exited;
    await reading;
    return status;
  };
  return {
    url,
    port,
    folder: cwd,
    pid: child.pid,
    output: () => printed,
    stop,
    admin: (method, path, body, headers = {}) =>
      fetch(url + path, {
        method,
        headers: {
          authorization: `Bearer ${ADMIN_TOKEN}`,
          ...(body === undefined ? {} : { "content-type": "application/json" }),
          ...headers,
        },
        ...trust,
        ...(body === undefined ? {} : { body: typeof body === "string" ? body : JSON.stringify(body) }),
      }),
    [Symbol.asyncDispose]: async () => {
      if (child.exitCode === null) await stop("SIGKILL");
      own?.[Symbol.dispose]();
    },
  };
}

/** Below the ports that the kernel gives to connections and to listeners that ask for any: nobody else takes one of these between our look and the program's start. */
const PORTS = { from: 12_000, to: 32_000 };
/** Test files run at the same time: each process begins elsewhere. */
let next = PORTS.from + Math.floor(Math.random() * (PORTS.to - PORTS.from));

/** Gives a port that is free, and that no later call in this process gives soon. */
export function freePort(): number {
  for (;;) {
    const port = next++;
    if (next >= PORTS.to) next = PORTS.from;
    try {
      // Bun takes `reusePort`, its types don't say so.
      using _listener = Bun.listen({ hostname: "127.0.0.1", port, ...({ reusePort: false } as object), socket: { data: () => {} } });
      return port;
    } catch {
      // Taken.
    }
  }
}
