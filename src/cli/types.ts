import { embeddedDeclarations } from "../plugins/declarations.macro.ts" with { type: "macro" };
import { print } from "../telemetry/stdout.ts";
import type { Command } from "./arguments.ts";

export const types: Command = {
  name: "types",
  usage: "types",
  summary:
    "Prints the TypeScript declarations that plug-ins are written against: put them beside yours as sluice.d.ts, with a tsconfig.json.",
  flags: [],
  positionals: 0,
  run: async () => {
    print(embeddedDeclarations());
    return 0;
  },
};
