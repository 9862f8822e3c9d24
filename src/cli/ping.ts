import { print } from "../telemetry/stdout.ts";
import { isLoopbackHost } from "../values/ip.ts";
import type { Command } from "./arguments.ts";
import { gatewayUrl } from "./remote.ts";

export const ping: Command = {
  name: "ping",
  usage: "ping [--url URL]",
  summary: "Asks a running gateway whether it is alive; for health checks where there is no curl. Exit status 0 or 1.",
  flags: [{ name: "url", value: "URL", help: "where it runs (SLUICE_URL, else http://127.0.0.1:SLUICE_PORT, else port 8080)" }],
  positionals: 0,
  run: async ({ flags }) => {
    const url = gatewayUrl(typeof flags.url === "string" ? flags.url : undefined);
    try {
      const answer = await healthAt(new URL("/health", url));
      print(`${await answer.text()}\n`);
      return answer.ok ? 0 : 1;
    } catch (error) {
      process.stderr.write(`sluice: nothing answers at ${url}: ${error instanceof Error ? error.message : String(error)}\n`);
      return 1;
    }
  },
};

/** Asks at a URL, and by https where the port on this machine speaks that: a container's health check knows no more than the port. */
async function healthAt(url: URL): Promise<Response> {
  const isHere = isLoopbackHost(url.hostname.replace(/^\[|\]$/g, ""));
  // A certificate is for the name that callers know, not for this address; nothing is told, and nobody stands between.
  const ask = (at: URL): Promise<Response> =>
    fetch(at, { signal: AbortSignal.timeout(2500), ...(isHere ? { tls: { rejectUnauthorized: false } } : {}) });
  const answer = await ask(url);
  if (!isHere || url.protocol !== "http:" || answer.status !== 400) return answer;
  const secure = new URL(url);
  secure.protocol = "https:";
  return await ask(secure).catch(() => answer);
}
