import { print } from "../telemetry/stdout.ts";
import type { Command } from "./arguments.ts";
import { openApiDocument } from "./openapi-document.ts";

export const openapi: Command = {
  name: "openapi",
  usage: "openapi",
  summary: "Prints the OpenAPI document of the admin API.",
  flags: [],
  positionals: 0,
  run: async () => {
    print(`${JSON.stringify(await openApiDocument(), null, 2)}\n`);
    return 0;
  },
};
