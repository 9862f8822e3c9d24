import { jsonSchema } from "../config/json-schema.ts";
import { print } from "../telemetry/stdout.ts";
import type { Command } from "./arguments.ts";

export const schema: Command = {
  name: "schema",
  usage: "schema",
  summary: "Prints the JSON Schema of the configuration file.",
  flags: [],
  positionals: 0,
  run: async () => {
    print(`${JSON.stringify(jsonSchema(), null, 2)}\n`);
    return 0;
  },
};
