import type { Config } from "../config/schema.ts";

/** What a person sees at the start of the demo: where it is, and a request to try for each key. */
export function demoBanner(config: Config, url: string, backendUrl: string): string {
  const lines = [
    "",
    `  Sluice is running its demo at ${url}`,
    "",
    `    API documentation   ${url}/swagger`,
    `    Health              ${url}/health`,
    `    Demo backend        ${backendUrl}`,
    "",
  ];
  for (const consumer of config.consumers) {
    const [key] = consumer.keys;
    if (key !== undefined) lines.push(`    ${consumer.tier.padEnd(12)} curl -i -H 'X-API-Key: ${key}' ${url}/test`);
  }
  lines.push(
    `    ${"anonymous".padEnd(12)} curl -i ${url}/proxy`,
    `    a pool's key curl --json '{"type":"service_1"}' ${url}/api/v1/api-key`,
    `    a row        curl --json '{"activities":[{"operation":"insert","table":"visits","colNames":["page"],"colTypes":["TEXT"],"colValues":["/"]}]}' ${url}/api/activities`,
    "",
    "    Make the backend fail, watch the breaker open (503 circuitOpen), let it recover, and see it close again within seconds:",
    `    curl -X POST ${url}/simulate-failure; for i in 1 2 3; do curl -s ${url}/proxy; echo; done; curl -X POST ${url}/simulate-recovery`,
    "",
    "  These keys are public: anybody who reads the documentation knows them. Use your own config.json for anything else.",
    "",
  );
  return lines.join("\n");
}
