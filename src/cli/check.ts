import { formatFault } from "../config/faults.ts";
import { loadConfig } from "../config/load.ts";
import { print } from "../telemetry/stdout.ts";
import type { Command } from "./arguments.ts";

export const check: Command = {
  name: "check",
  usage: "check [FILE]",
  summary: "Validates a configuration file (config.json by default) and prints each fault as FILE:LINE:COLUMN path: what is wrong.",
  flags: [],
  positionals: 1,
  run: async ({ positionals }) => {
    const file = positionals[0] ?? process.env.SLUICE_CONFIG ?? "config.json";
    const text = await Bun.file(file)
      .text()
      .catch(() => null);
    if (text === null) {
      process.stderr.write(`sluice: ${file} can't be read: name an existing file, as in \`sluice check config.json\`\n`);
      return 1;
    }
    const loaded = loadConfig(text, process.env);
    if ("config" in loaded) {
      print(`${file}: valid\n`);
      return 0;
    }
    for (const fault of loaded.faults) print(`${formatFault(file, fault)}\n`);
    return 1;
  },
};
