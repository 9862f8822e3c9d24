// Plays three services that ask a running gateway for keys: `bun run load:pools [--duration SECONDS] [--speed N] [--url URL] [--key KEY] [--pool NAME]`
// service_1 asks every 20 s, service_2 every 10 s, service_3 every 40 s; --speed makes the waits (not the gateway's windows) so many times shorter. A line for each answer: time, service, key.
const option = (name: string, otherwise: string): string => {
  const at = Bun.argv.indexOf(`--${name}`);
  return at < 0 ? otherwise : (Bun.argv[at + 1] ?? otherwise);
};
const number = (name: string, otherwise: string): number => {
  const value = Number(option(name, otherwise));
  if (Number.isFinite(value) && value > 0) return value;
  console.error(`load:pools: --${name} must be a number above 0`);
  process.exit(2);
};
const duration = number("duration", "600");
const speed = number("speed", "1");
const url = new URL("/api/v1/api-key", option("url", process.env.SLUICE_URL ?? "http://127.0.0.1:8080"));
const key = option("key", "");
const pool = option("pool", "");

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
