import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { freePort } from "../support/process.ts";
import { answering, cpuTime, median, on, option, Programs } from "./processes.ts";

const SECONDS = Number(option("seconds") ?? 2);
const ROUNDS = Number(option("rounds") ?? 5);
const WARM_UP = 6;
const KEY = "a-key-for-the-bench-0123456789";
/** Events of a stream. */
const EVENTS = 500;
const [SUBJECT, OTHERS] = ["0", "1"];
const OTHER = "LiteLLM";

/** What is asked: a call of a model, or with `events` one for a stream of so many. */
interface Subject {
  readonly name: string;
  readonly pid: number;
  readonly url: string;
  readonly events: number | null;
  /** Seconds for which it is loaded in each round: what answers few requests in a second needs more. */
  readonly seconds: number;
}

interface Figures {
  /** Microseconds of CPU time a request. */
  readonly cpu: number;
  /** Milliseconds. */
  readonly p50: number;
  readonly p99: number;
  readonly errors: number;
}

const question = (isStream: boolean): string =>
  JSON.stringify({
    model: "gpt-5",
    messages: [
      { role: "system", content: "You are a helpful assistant. ".repeat(4) },
      { role: "user", content: "Tell me about foxes and dogs, please. ".repeat(8) },
    ],
    max_tokens: 200,
    ...(isStream ? { stream: true } : {}),
  });

/** Writes what wrk sends. */
function scriptOf(folder: string, { events }: Subject): string {
  const file = join(folder, `ask-${events}.lua`);
  const fields = {
    "Content-Type": "application/json",
    Authorization: `Bearer ${KEY}`,
    ...(events === null ? {} : { "X-Events": String(events) }),
  };
  writeFileSync(
    file,
    `wrk.method = "POST"\nwrk.body = [==[${question(events !== null)}]==]\n${Object.entries(fields)
      .map(([name, value]) => `wrk.headers["${name}"] = "${value}"\n`)
      .join("")}`,
  );
  return file;
}

const milliseconds = (text: string | undefined): number =>
  text === undefined ? Number.NaN : Number.parseFloat(text) * (text.endsWith("us") ? 0.001 : text.endsWith("ms") ? 1 : 1000);

async function load(folder: string, subject: Subject, connections: number, seconds = subject.seconds): Promise<Figures> {
  const before = cpuTime(subject.pid);
  const command = ["wrk", "-t1", `-c${connections}`, `-d${seconds}s`, "--latency", "--timeout", "30s", "-s", scriptOf(folder, subject)];
  const child = Bun.spawn(on(OTHERS, [...command, subject.url]), { stdout: "pipe", stderr: "ignore" });
  const text = await new Response(child.stdout).text();
  return {
    cpu: (cpuTime(subject.pid) - before) / Number(/(\d+) requests in/.exec(text)?.[1]),
    p50: milliseconds(/50%\s+(\S+)/.exec(text)?.[1]),
    p99: milliseconds(/99%\s+(\S+)/.exec(text)?.[1]),
    errors: Number(/Non-2xx or 3xx responses: (\d+)/.exec(text)?.[1] ?? 0),
  };
}

/** A gateway's configuration: a plain route beside one with a pool's key; `more`: what it has besides. */
const configOf = (upstream: string, more: object = {}) => ({
  logging: { accessLog: false },
  guard: null,
  tiers: {
    bench: {
      limits: [
        { algorithm: "sliding-window", limit: 1_000_000_000, window: "1m" },
        { algorithm: "token-bucket", limit: 1_000_000_000, window: "1m", name: "bucket" },
      ],
    },
  },
  consumers: [{ id: "bench", tier: "bench", keys: [KEY] }],
  pools: { provider: { keys: ["one", "two"].map((id) => ({ id, secret: `sk-${id}`, limit: 1_000_000_000_000, window: "1h" })) } },
  routes: [
    { name: "plain", path: "/plain", upstream },
    { name: "credential", path: "/credential", upstream, credential: { pool: "provider" } },
  ],
  ...more,
});

/** Starts LiteLLM before the provider, with one worker and a key to check; `null`: it is not there. */
async function liteLlm(folder: string, programs: Programs, provider: string): Promise<[pid: number, url: string] | null> {
  const program = Bun.which("litellm");
  if (program === null) return null;
  const port = freePort();
  const model = { model: "openai/gpt-5", api_base: `${provider}/v1`, api_key: "sk-one" };
  writeFileSync(
    join(folder, "litellm.json"),
    JSON.stringify({ model_list: [{ model_name: "gpt-5", litellm_params: model }], general_settings: { master_key: KEY } }),
  );
  const { pid } = programs.spawn(
    SUBJECT,
    [program, "--config", "litellm.json", "--host", "127.0.0.1", "--port", String(port), "--num_workers", "1"],
    { LITELLM_LOCAL_MODEL_COST_MAP: "True", LITELLM_LOG: "ERROR" },
  );
  await answering(`http://127.0.0.1:${port}/health/liveliness`);
  return [pid, `http://127.0.0.1:${port}/v1/chat/completions`];
}

/**
 * Measures calls of models: a route with a pool's key beside a plain one, with prices and without, unstreamed and for each event of a stream,
 * and with `isBeside` LiteLLM. Needs wrk. `program`: the gateway's command.
 */
export async function benchModels(program: readonly string[], isBeside: boolean): Promise<void> {
  if (Bun.which("wrk") === null) {
    console.log("calls of models are not measured: wrk is not on the PATH");
    return;
  }
  const folder = mkdtempSync(join(tmpdir(), "sluice-bench-models-"));
  const programs = new Programs(folder);
  try {
    const provider = `http://127.0.0.1:${freePort()}`;
    programs.spawn(OTHERS, [process.execPath, resolve(import.meta.dir, "model-backend.ts"), new URL(provider).port]);
    await answering(provider);
    const gateway = async (name: string, more: object = {}): Promise<[pid: number, url: string]> => {
      const port = freePort();
      writeFileSync(join(folder, `${name}.json`), JSON.stringify(configOf(provider, more)));
      const { pid } = programs.spawn(SUBJECT, [...program, "--config", `${name}.json`, "--port", String(port), "--data", name], {
        SLUICE_HOST: "127.0.0.1",
        SLUICE_ADMIN_TOKEN: "bench-token-0123456789",
      });
      await answering(`http://127.0.0.1:${port}/health`);
      return [pid, `http://127.0.0.1:${port}`];
    };
    const [pid, url] = await gateway("unpriced");
    const [pricedPid, pricedUrl] = await gateway("priced", { prices: { "gpt-5*": { input: "1.25", output: "10", cacheRead: "0.125" } } });
    const call = "/v1/chat/completions";
    const asked: [name: string, pid: number, url: string][] = [
      ["sluice: plain route", pid, `${url}/plain${call}`],
      ["sluice: with a pool's key", pid, `${url}/credential${call}`],
      ["sluice: the same, with prices", pricedPid, `${pricedUrl}/credential${call}`],
    ];
    const other = isBeside ? await liteLlm(folder, programs, provider) : null;
    if (isBeside && other === null) console.log("litellm is not on the PATH: pip install 'litellm[proxy]'");
    if (other !== null) asked.push([OTHER, ...other]);
    await tell(folder, asked);
  } finally {
    await programs.end();
    rmSync(folder, { recursive: true, force: true });
  }
}

const row = (name: string, cells: readonly string[]): string => name.padEnd(32) + cells.map((cell) => cell.padStart(13)).join("");

async function tell(folder: string, asked: readonly [name: string, pid: number, url: string][]): Promise<void> {
  // What is compared comes one after the other: after a stream a process is slower for a while, and what follows would pay for it.
  const all = [null, 0, EVENTS].flatMap((events) =>
    asked.map(([name, pid, url]): Subject => ({ name, pid, url, events, seconds: name === OTHER ? 5 * SECONDS : SECONDS })),
  );
  for (const subject of all) await load(folder, subject, 16, WARM_UP);
  for (const connections of [1, 16]) {
    const figures = new Map<Subject, Figures[]>(all.map((subject) => [subject, []]));
    for (let round = 0; round < ROUNDS; round++)
      for (const subject of all) figures.get(subject)?.push(await load(folder, subject, connections));
    const of = (name: string, events: number | null): Figures[] =>
      figures.get(all.find((each) => each.name === name && each.events === events) as Subject) ?? [];
    const plain = of(asked[0]?.[0] ?? "", null);
    console.log(row(`calls of models, ${connections} at a time`, ["CPU µs/req", "of plain", "p50 ms", "p99 ms", "µs/event", "errors"]));
    for (const [name] of asked) {
      const [its, before, after] = [of(name, null), of(name, 0), of(name, EVENTS)];
      console.log(
        row(name, [
          median(its.map(({ cpu }) => cpu)).toFixed(1),
          median(its.map(({ cpu }, i) => cpu / (plain[i]?.cpu ?? Number.NaN))).toFixed(2),
          median(its.map(({ p50 }) => p50)).toFixed(2),
          median(its.map(({ p99 }) => p99)).toFixed(2),
          median(after.map(({ cpu }, i) => (cpu - (before[i]?.cpu ?? Number.NaN)) / EVENTS)).toFixed(2),
          String([...its, ...before, ...after].reduce((sum, { errors }) => sum + errors, 0)),
        ]),
      );
    }
  }
}
