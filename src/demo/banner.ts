import type { Config } from "../config/schema.ts";
import { declaredKey } from "../consumers/settings.ts";

/** Describes a request to try, as a person types it. */
export interface DemoRequest {
  readonly label: string;
  readonly command: string;
}

/** Gives a request for each key of the demo, and for what else it can do. `url`: where the gateway is. */
export function demoRequests(config: Config, url: string): DemoRequest[] {
  const requests = config.consumers.flatMap(({ tier, keys: [key] }) =>
    key === undefined ? [] : [{ label: tier, command: `curl -i -H 'X-API-Key: ${declaredKey(key).key}' ${url}/test` }],
  );
  return [
    ...requests,
    { label: "anonymous", command: `curl -i ${url}/proxy` },
    { label: "a pool's key", command: `curl --json '{"type":"service_1"}' ${url}/api/v1/api-key` },
    {
      label: "a row",
      command: `curl --json '{"activities":[{"operation":"insert","table":"visits","colNames":["page"],"colTypes":["TEXT"],"colValues":["/"]}]}' ${url}/api/activities`,
    },
  ];
}

/** Gives the text that a person sees at the start of the demo: where it is, and a request to try for each key. */
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
  for (const { label, command } of demoRequests(config, url)) lines.push(`    ${label.padEnd(12)} ${command}`);
  lines.push(
    "",
    "    Make the backend fail, watch the breaker open (503 circuitOpen), let it recover, and see it close again within seconds:",
    `    curl -X POST ${url}/simulate-failure; for i in 1 2 3; do curl -s ${url}/proxy; echo; done; curl -X POST ${url}/simulate-recovery`,
    "",
    "  These keys are public: anybody who reads the documentation knows them. Use your own config.json for anything else.",
    "",
  );
  return lines.join("\n");
}
