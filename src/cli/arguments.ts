import { parseArgs } from "node:util";
import { nearest } from "../schema/faults.ts";

/** Describes a flag of a command. */
export interface Flag {
  readonly name: string;
  /** The letter that may stand for it behind one dash; left out: there is none. */
  readonly short?: string;
  /** The word that stands for its value in the help; left out for a switch. */
  readonly value?: string;
  readonly help: string;
}

/** Describes one command of the program. */
export interface Command {
  readonly name: string;
  /** The words that call it, behind `sluice`. */
  readonly usage: string;
  readonly summary: string;
  readonly flags: readonly Flag[];
  /** The words that may stand as its first argument, for completion. */
  readonly actions?: readonly string[];
  /** The most positional arguments that it takes. */
  readonly positionals: number;
  /** True for a command that is not for people: the overview leaves it out. */
  readonly isHidden?: true;
  /** Runs it. Gives the exit status; `null` while it goes on. */
  run(input: Input): Promise<number | null>;
}

export interface Input {
  readonly flags: Readonly<Record<string, string | true | undefined>>;
  readonly positionals: readonly string[];
}

/** Says that the command line was wrong: exit status 2, with a hint. */
export class UsageError extends Error {}

/** Reads the words behind a command's name. Throws `UsageError` for those that the command does not know. */
export function readInput(command: Command, args: readonly string[]): Input {
  const known: readonly Flag[] = [...command.flags, { name: "help", short: "h", help: "" }];
  const { tokens } = parseArgs({
    args: [...args],
    options: Object.fromEntries(
      known.map(({ name, short, value }) => [
        name,
        { type: value === undefined ? ("boolean" as const) : ("string" as const), ...(short === undefined ? {} : { short }) },
      ]),
    ),
    strict: false,
    tokens: true,
  });
  const flags: Record<string, string | true | undefined> = {};
  const positionals: string[] = [];
  for (const token of tokens) {
    if (token.kind === "positional") positionals.push(token.value);
    if (token.kind !== "option") continue;
    const flag = known.find((each) => each.name === token.name);
    if (flag === undefined) {
      const hint = nearest(
        token.name,
        known.map((each) => each.name),
      );
      throw new UsageError(`unknown flag ${token.rawName}${hint === null ? "" : `, did you mean --${hint}?`}`);
    }
    if (flag.value !== undefined && (token.value === undefined || token.value === ""))
      throw new UsageError(`--${flag.name} needs a value: --${flag.name} ${flag.value}`);
    if (flag.value === undefined && token.value !== undefined) throw new UsageError(`--${flag.name} takes no value`);
    flags[flag.name] = token.value ?? true;
  }
  if (positionals.length > command.positionals)
    throw new UsageError(`unexpected argument ${JSON.stringify(positionals[command.positionals])}`);
  return { flags, positionals };
}

export function helpOf(command: Command): string {
  const lines = [`Usage: sluice ${command.usage}`, "", command.summary];
  if (command.flags.length > 0) {
    const left = command.flags.map(
      ({ name, short, value }) => `  ${short === undefined ? "" : `-${short}, `}--${name}${value === undefined ? "" : ` ${value}`}`,
    );
    const width = Math.max(...left.map((text) => text.length)) + 2;
    lines.push("", ...command.flags.map((flag, i) => `${left[i]?.padEnd(width)}${flag.help}`));
  }
  return `${lines.join("\n")}\n`;
}
