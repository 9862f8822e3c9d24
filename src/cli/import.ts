import { readFileSync } from "node:fs";
import { yamlText } from "../config/tree.ts";
import { print } from "../telemetry/stdout.ts";
import { type Command, UsageError } from "./arguments.ts";

/** The most bytes of a file that is imported: the largest descriptions of known APIs have a tenth of that. */
const MAX_BYTES = 128_000_000;

export const importConfig: Command = {
  name: "import",
  usage: "import openapi|kong|nginx FILE [--yaml]",
  summary:
    "Makes a configuration of an OpenAPI document, of a declarative configuration of Kong (deck's kong.yaml), or of nginx' configuration, and prints it. Each thing that could not be carried over is named on stderr as FILE:LINE: what, and what to do. Exit status 0 when a configuration came out, which `sluice check` takes; 1 when the file can't be read as what it is meant to be.",
  flags: [{ name: "yaml", help: "print YAML in place of JSON" }],
  actions: ["openapi", "kong", "nginx"],
  positionals: 2,
  run: async ({ positionals, flags }) => {
    const [kind, file] = positionals;
    if (kind === undefined || !importConfig.actions?.includes(kind))
      throw new UsageError(
        `say what is imported: import openapi|kong|nginx FILE${kind === undefined ? "" : `, not ${JSON.stringify(kind)}`}`,
      );
    if (file === undefined) throw new UsageError(`a file is needed: sluice import ${kind} FILE`);
    if (/^https?:\/\//.test(file)) throw new UsageError(`a file is needed, not an address: curl -o api.json ${file}`);
    // Nobody else needs the importers.
    const { imported, Unreadable } = await import("../imports/imported.ts");
    try {
      const text = textOf(file);
      if (text instanceof Error) throw new Unreadable(file, 1, text.message);
      const { config, notes, variables } = imported(kind as "openapi" | "kong" | "nginx", file, text);
      for (const { file: in_, line, message } of notes) process.stderr.write(`${in_}:${line}: ${message}\n`);
      if (variables.length > 0) process.stderr.write(`sluice: it takes these from the environment: ${variables.join(", ")}\n`);
      print(flags.yaml === true ? yamlText(config) : `${JSON.stringify(config, null, 2)}\n`);
      return 0;
    } catch (error) {
      if (!(error instanceof Unreadable)) throw error;
      process.stderr.write(`${error.file}:${error.line}: ${error.message}\n`);
      return 1;
    }
  },
};

function textOf(file: string): string | Error {
  try {
    const bytes = readFileSync(file === "-" ? 0 : file);
    if (bytes.length > MAX_BYTES) return new Error(`has more than ${MAX_BYTES} bytes`);
    return bytes.toString("utf8");
  } catch (error) {
    return new Error(`can't be read: ${error instanceof Error ? error.message : String(error)}`);
  }
}
