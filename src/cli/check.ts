import { loadConfig, placed } from "../config/load.ts";
import { configWarnings } from "../config/warnings.ts";
import { day } from "../edge/ends.ts";
import { examineFiles } from "../edge/files.ts";
import { pluginFileFaults } from "../plugins/plugins.ts";
import { PriceBook } from "../prices/book.ts";
import { type Fault, formatFault } from "../schema/faults.ts";
import { print } from "../telemetry/stdout.ts";
import { examineBackendFiles } from "../upstreams/tls-files.ts";
import type { Command } from "./arguments.ts";
import { meantFile, passedOver } from "./config-file.ts";

export const check: Command = {
  name: "check",
  usage: "check [FILE] [--strict]",
  summary:
    "Validates a configuration file (by default config.json, config.yaml or config.yml) and prints each fault as FILE:LINE:COLUMN path: what is wrong. Warnings are told likewise and don't change the exit status. Plug-ins are loaded, and not set up.",
  flags: [{ name: "strict", help: "count warnings as faults: exit status 1" }],
  positionals: 1,
  run: async ({ positionals, flags }) => {
    const file = meantFile(positionals[0]);
    const text = await Bun.file(file)
      .text()
      .catch(() => null);
    if (text === null) {
      process.stderr.write(`sluice: ${file} can't be read: name an existing file, as in \`sluice check config.json\`\n`);
      return 1;
    }
    const loaded = loadConfig(text, process.env, file);
    if ("faults" in loaded) return tell(file, loaded.faults);
    const { config, given } = loaded;
    const now = Date.now();
    const { faults, warnings: ofCertificates, certificates, lines } = examineFiles(config.server.tls, now);
    const backends = examineBackendFiles(config, now);
    const prices = new PriceBook(file).examine(config);
    const wrong = [...faults, ...backends.faults, ...prices.faults, ...(await pluginFileFaults(config, file))];
    if (wrong.length > 0) return tell(file, placed(text, wrong));
    const host = process.env.SLUICE_HOST || config.server.host;
    const warnings = placed(text, [
      ...configWarnings(config, given, host, now),
      ...ofCertificates,
      ...backends.warnings,
      ...prices.warnings,
    ]);
    for (const { file: certificate, names, endsAt } of certificates)
      print(`${certificate}: a certificate for ${names.join(", ")}, until ${day(endsAt)}\n`);
    for (const line of lines) print(`${line}\n`);
    for (const { file: certificate, subject, endsAt } of backends.shown)
      print(`${certificate}: a certificate for backends, ${subject}, until ${day(endsAt)}\n`);
    if (flags.strict === true && warnings.length > 0) return tell(file, warnings);
    for (const warning of warnings) print(`${formatFault(file, { ...warning, message: `warning: ${warning.message}` })}\n`);
    if (positionals[0] === undefined && !process.env.SLUICE_CONFIG)
      for (const line of passedOver(file)) process.stderr.write(`sluice: ${line}\n`);
    const count = warnings.length === 0 ? "" : `, with ${warnings.length} ${warnings.length === 1 ? "warning" : "warnings"}`;
    print(`${file}: valid${count}\n`);
    return 0;
  },
};

function tell(file: string, faults: readonly Fault[]): number {
  for (const fault of faults) print(`${formatFault(file, fault)}\n`);
  return 1;
}
