import { print } from "../telemetry/stdout.ts";
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
      const answer = await fetch(new URL("/health", url), { signal: AbortSignal.timeout(2500) });
      print(`${await answer.text()}\n`);
      return answer.ok ? 0 : 1;
    } catch (error) {
      process.stderr.write(`sluice: nothing answers at ${url}: ${error instanceof Error ? error.message : String(error)}\n`);
      return 1;
    }
  },
};
