import { readFileSync } from "node:fs";
import { type Flag, type Input, UsageError } from "./arguments.ts";
import { required, text } from "./remote.ts";

export const FILE: Flag = {
  name: "file",
  value: "FILE",
  help: "the record as JSON, as the configuration file has it; - reads it from stdin",
};

/** Reads the record that --file names. Throws `UsageError` where there is none. */
export function recordIn(input: Input): object {
  const file = required(text(input, "file"), "--file FILE");
  let content: string;
  try {
    content = readFileSync(file === "-" ? 0 : file, "utf8");
  } catch (error) {
    throw new UsageError(`${file} can't be read: ${error instanceof Error ? error.message : String(error)}`);
  }
  try {
    return JSON.parse(content) as object;
  } catch {
    throw new UsageError(`${file} is not JSON`);
  }
}
