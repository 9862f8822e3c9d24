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
  return jsonIn(required(text(input, "file"), "--file FILE"), UsageError) as object;
}

/** Reads a file of JSON; `-`: stdin. Throws a `Fault` for one that can't be read or is none: its class decides the exit status. */
export function jsonIn(file: string, Fault: new (message: string) => Error): unknown {
  let content: string;
  try {
    content = readFileSync(file === "-" ? 0 : file, "utf8");
  } catch (error) {
    throw new Fault(`${file} can't be read: ${error instanceof Error ? error.message : String(error)}`);
  }
  try {
    return JSON.parse(content);
  } catch {
    throw new Fault(`${file} is not JSON`);
  }
}
