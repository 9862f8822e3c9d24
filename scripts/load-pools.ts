import { loadOptions } from "./load-options.ts";

const USAGE = `Plays three services that ask a running gateway for keys of a pool: service_1 every 20 s, service_2 every 10 s, service_3 every 40 s.
A line for each answer: time, service, key.

  bun run load:pools [options]

  --duration SECONDS  how long (600)
  --speed N           makes the waits, not the gateway's windows, so many times shorter (1)
  --url URL           the gateway (SLUICE_URL, else http://127.0.0.1:8080)
  --key KEY           the key to send
  --pool NAME         the pool (default)`;
const { text: option, number } = loadOptions("load:pools", USAGE);
const duration = number("duration", 600);
const speed = number("speed", 1);
const url = new URL("/api/v1/api-key", option("url") ?? process.env.SLUICE_URL ?? "http://127.0.0.1:8080");
const key = option("key") ?? "";
const pool = option("pool") ?? "";

const SERVICES = [
  ["service_1", 20],
  ["service_2", 10],
  ["service_3", 40],
] as const;

const from = performance.now();
const elapsed = (): number => ((performance.now() - from) / 1000) * speed;
let granted = 0;
let denied = 0;

async function ask(service: string): Promise<void> {
  const at = elapsed();
  const answer = await fetch(url, {
    method: "POST",
    headers: { "content-type": "application/json", ...(key === "" ? {} : { "x-api-key": key }) },
    body: JSON.stringify({ type: service, ...(pool === "" ? {} : { pool }) }),
  });
  const body = (await answer.json()) as { api_key?: string; detail?: string };
  if (answer.ok) granted++;
  else denied++;
  console.log(`${at.toFixed(2).padStart(8)} s  ${service}  ${answer.ok ? body.api_key : `${answer.status}: ${body.detail}`}`);
}

try {
  await Promise.all(
    SERVICES.map(async ([service, every]) => {
      while (elapsed() < duration) {
        await ask(service);
        await Bun.sleep(Math.min((every * 1000) / speed, Math.max(0, ((duration - elapsed()) * 1000) / speed)));
      }
    }),
  );
} catch (error) {
  console.error(`load:pools: nothing answers at ${url.origin}: ${error instanceof Error ? error.message : String(error)}`);
  process.exit(1);
}
console.log(`${granted} granted, ${denied} denied`);
