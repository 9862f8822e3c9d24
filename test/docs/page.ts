import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { loadConfig } from "../../src/config/load.ts";
import { ADMIN_TOKEN, freePort, PROGRAM } from "../support/process.ts";
import { type Block, blocksOf, isAsSaid, stepsOf } from "./blocks.ts";

/** What a page's commands may find: these stand for the reader's own services and addresses. */
const BACKENDS = [3000, 3001, 3002, 9000];
/** Why a block is not run, and only looked at for its syntax. */
const ELSEWHERE = new Set(["systemd", "docker", "root", "network", "release", "redis", "postgres", "kafka", "bigquery", "long", "code"]);

/** Fragments of a configuration are checked inside this one, whose sections they replace. */
const AROUND = {
  tiers: {
    anonymous: { limits: [] },
    free: { limits: [{ algorithm: "sliding-window", limit: 10, window: "1m" }] },
    pro: { limits: [{ algorithm: "sliding-window", limit: 100, window: "1m" }] },
  },
  upstreams: { users: { targets: [{ url: "http://users-1:8001" }] }, orders: { targets: [{ url: "http://orders-1:8001" }] } },
  pools: { openai: { keys: [{ id: "one", secret: "a-secret", limit: 1000, window: "1m" }] } },
};

/**
 * Runs a page as a reader would: writes its files, starts what it starts, runs its commands in one folder one after the other, and compares what they print.
 * Blocks: `json FILE`/`jsonc FILE`/`ts FILE` are written; `jsonc fragment` is checked as a part of a configuration; `console` and `sh` are run (`start`: in the background until
 * the gateway answers; `fails`: must fail; `elsewhere REASON`: not run); `text` and others are only shown. Throws with the line of what is not as the page says.
 */
export async function runPage(path: string): Promise<number> {
  const folder = mkdtempSync(join(tmpdir(), "sluice-docs-"));
  const ports = new Map<number, number>([8080, 8081, 8082, 8443, 9100].map((port) => [port, freePort()]));
  const backends = BACKENDS.map((port) => {
    const backend = echo(port);
    ports.set(port, backend.port ?? 0);
    return backend;
  });
  const moved = (text: string): string =>
    text.replace(
      /((?:localhost|127\.0\.0\.1):|"port": ?|localhost%3A)(\d{4})\b/g,
      (_, before: string, port: string) => `${before}${ports.get(Number(port)) ?? port}`,
    );
  const bin = join(folder, "bin");
  mkdirSync(bin);
  writeFileSync(join(bin, "sluice"), `#!/bin/sh\nexec ${PROGRAM.map((part) => `'${part}'`).join(" ")} "$@"\n`);
  chmodSync(join(bin, "sluice"), 0o755);
  const env = {
    PATH: `${bin}:${process.env.PATH}`,
    HOME: folder,
    NO_COLOR: "1",
    SLUICE_ADMIN_TOKEN: ADMIN_TOKEN,
    SLUICE_PORT: String(ports.get(8080)),
    SLUICE_HOST: "127.0.0.1",
    SLUICE_URL: `http://127.0.0.1:${ports.get(8080)}`,
    SLUICE_SECRET: "a-secret-for-the-docs-0123456789",
    ACME_KEY: "acme-key-for-the-docs-0123",
    OPENAI_KEY_1: "sk-docs-1-0123456789",
    OPENAI_KEY_2: "sk-docs-2-0123456789",
    ANTHROPIC_KEY: "sk-ant-docs-0123456789",
    REDIS_PASSWORD: "a-password",
    POSTGRES_PASSWORD: "a-password",
    KAFKA_PASSWORD: "a-password",
    TOKEN_SECRET: "a-secret-for-tokens-of-the-docs-0123456789",
    OTLP_TOKEN: "a-token-0123456789",
    WEBHOOK_SECRET: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw8QpIhbOrWXk=",
  };
  const running: Bun.Subprocess[] = [];
  /** What earlier commands have exported stays. */
  const state = join(folder, ".env");
  writeFileSync(state, "");
  const shell = async (command: string, where: string, mayFail = false): Promise<string> => {
    const child = Bun.spawn(
      [
        "bash",
        "-c",
        `set -a; . '${state}'; ${moved(command)}\nstatus=$?\nexport -p | grep -vE ' (PWD|OLDPWD|SHLVL|_|PATH)=' > '${state}'\nexit $status`,
      ],
      {
        cwd: folder,
        env,
        stdout: "pipe",
        stderr: "pipe",
      },
    );
    const [stdout, stderr, status] = await Promise.all([
      new Response(child.stdout).text(),
      new Response(child.stderr).text(),
      child.exited,
    ]);
    if ((status !== 0) !== mayFail) throw new Error(`${where}: ${command}\nended with ${status}:\n${stdout}${stderr}`);
    return stdout + stderr;
  };
  const begin = async (command: string, where: string): Promise<void> => {
    const text = moved(command).trim().replace(/&\s*$/, "");
    const child = Bun.spawn(["bash", "-c", `set -a; . '${state}'; exec ${text}`], { cwd: folder, env, stdout: "pipe", stderr: "pipe" });
    running.push(child);
    let printed = "";
    const read = async (stream: ReadableStream<Uint8Array>) => {
      for await (const chunk of stream) printed += new TextDecoder().decode(chunk);
    };
    void read(child.stdout);
    void read(child.stderr);
    for (;;) {
      if (child.exitCode !== null) throw new Error(`${where}: ${command}\nended with ${child.exitCode}:\n${printed}`);
      const answers = await Promise.all(
        ["http", "https"].map((scheme) =>
          fetch(`${scheme}://127.0.0.1:${ports.get(8080)}/health`, {
            tls: { rejectUnauthorized: false },
            signal: AbortSignal.timeout(1000),
          }).then(
            ({ ok }) => ok,
            () => false,
          ),
        ),
      );
      if (answers.includes(true)) return;
      await Bun.sleep(20);
    }
  };
  let ran = 0;
  try {
    const blocks = blocksOf(await Bun.file(path).text());
    for (const block of blocks) {
      const where = `${path}:${block.line}`;
      const [first, second] = block.words;
      if (first === "elsewhere") {
        if (second === undefined || !ELSEWHERE.has(second)) throw new Error(`${where}: say where it is run: ${[...ELSEWHERE].join(", ")}`);
        if (block.language === "sh") await shell(`bash -n <<'END_OF_BLOCK'\n${block.text}END_OF_BLOCK`, where);
        continue;
      }
      if (first === "fragment") checkFragment(block, env, where);
      else if (["json", "jsonc", "yaml", "ini", "ts", "js", "py", "conf", "caddy"].includes(block.language)) {
        if (first === undefined)
          throw new Error(`${where}: a ${block.language} block names its file, or is a "fragment", or stands "elsewhere"`);
        const file = resolve(folder, first);
        mkdirSync(dirname(file), { recursive: true });
        writeFileSync(file, moved(block.text));
        if (block.language.startsWith("json")) checkWhole(block, env, where);
      } else if (block.language === "console") {
        for (const { command, expected } of stepsOf(block.text)) {
          const printed = await shell(command, where, first === "fails");
          if (expected !== null && !isAsSaid(printed, moved(expected)))
            throw new Error(`${where}: ${command}\nprinted:\n${printed}\nwhere the page says:\n${expected}`);
        }
      } else if (block.language === "sh") {
        if (first === "start") await begin(block.text, where);
        else if (first === "stop") {
          for (const child of running.splice(0)) {
            child.kill(second === "kill" ? "SIGKILL" : "SIGTERM");
            await child.exited;
          }
        } else await shell(block.text, where, first === "fails");
      } else if (!["text", "http", ""].includes(block.language)) throw new Error(`${where}: nobody knows how to run ${block.language}`);
      ran++;
    }
  } finally {
    for (const child of running) {
      child.kill("SIGKILL");
      await child.exited;
    }
    for (const backend of backends) await backend.stop(true);
    rmSync(folder, { recursive: true, force: true });
  }
  return ran;
}

function checkWhole({ text, words: [file] }: Block, env: Record<string, string>, where: string): void {
  if (file?.endsWith("config.json") !== true) {
    if (file?.endsWith(".json") === true) JSON.parse(text);
    return;
  }
  const loaded = loadConfig(text, env);
  if ("faults" in loaded) throw new Error(`${where}: ${JSON.stringify(loaded.faults, null, 1)}`);
}

/** A fragment is one or more sections of a configuration, without the braces around them. */
function checkFragment({ text }: Block, env: Record<string, string>, where: string): void {
  const sections = new Set([...text.matchAll(/^"(\w+)":/gm)].map(([, name]) => name));
  const rest = Object.entries(AROUND).filter(([name]) => !sections.has(name));
  const around = rest.map(([name, value]) => `${JSON.stringify(name)}: ${JSON.stringify(value)}`).join(",\n");
  const loaded = loadConfig(`{\n${text.trim().replace(/,$/, "")}${around === "" ? "" : `,\n${around}`}\n}`, env);
  if ("faults" in loaded) throw new Error(`${where}: ${JSON.stringify(loaded.faults, null, 1)}`);
}

/** A reader's own service: answers with what reached it. */
const echo = (port: number) =>
  Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    fetch: async (request) => {
      const { pathname, search } = new URL(request.url);
      if (pathname.endsWith("/fail")) return new Response("failed", { status: 503 });
      if (pathname.endsWith("/chat/completions"))
        return Response.json({
          id: "chatcmpl-1",
          object: "chat.completion",
          choices: [{ index: 0, message: { role: "assistant", content: "Hello." }, finish_reason: "stop" }],
          usage: { prompt_tokens: 12, completion_tokens: 3, total_tokens: 15 },
        });
      return Response.json({
        service: port,
        method: request.method,
        url: pathname + search,
        consumer: request.headers.get("x-consumer-id"),
        tier: request.headers.get("x-consumer-tier"),
        user: request.headers.get("x-user"),
        body: await request.text(),
      });
    },
  });
