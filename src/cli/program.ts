import { nearest } from "../schema/faults.ts";
import { print } from "../telemetry/stdout.ts";
import { VERSION } from "../version.ts";
import { type Command, helpOf, readInput, UsageError } from "./arguments.ts";
import { check } from "./check.ts";
import { completionOf } from "./completion.ts";
import { copyDatabase } from "./copy-database.ts";
import { demo } from "./demo.ts";
import { explain } from "./explain.ts";
import { history, shadow } from "./history.ts";
import { importConfig } from "./import.ts";
import { logs } from "./logs.ts";
import { admin, audit, backup, consumers, health, keys } from "./manage.ts";
import { models } from "./models.ts";
import { openapi } from "./openapi.ts";
import { ping } from "./ping.ts";
import { prices } from "./prices.ts";
import {
  activities,
  blocks,
  breakers,
  cache,
  certificates,
  config,
  issuers,
  limits,
  logging,
  pools,
  reload,
  tiers,
  tokens,
  upstreams,
  usage,
} from "./resources.ts";
import { restore } from "./restore.ts";
import { routes } from "./routes.ts";
import { schema } from "./schema.ts";
import { serve } from "./serve.ts";
import { signToken } from "./sign-token.ts";
import { top } from "./top.ts";
import { types } from "./types.ts";
import { apply, diff, dump, versions } from "./versions.ts";
import { webhooks } from "./webhooks.ts";
import { worker } from "./worker.ts";

const COMMANDS: readonly Command[] = [
  serve,
  check,
  schema,
  importConfig,
  types,
  openapi,
  ping,
  keys,
  consumers,
  tiers,
  routes,
  upstreams,
  pools,
  prices,
  issuers,
  webhooks,
  limits,
  shadow,
  usage,
  models,
  history,
  blocks,
  certificates,
  breakers,
  cache,
  activities,
  health,
  explain,
  top,
  logs,
  logging,
  audit,
  tokens,
  signToken,
  config,
  reload,
  versions,
  dump,
  diff,
  apply,
  backup,
  restore,
  admin,
  demo,
  completionOf(() => SHOWN),
  copyDatabase,
  worker,
];
export const SHOWN = COMMANDS.filter((command) => !command.isHidden);

/** Runs one command. Gives the exit status, or `null` when the command goes on in the background. */
export async function runProgram(args: readonly string[]): Promise<number | null> {
  const [first] = args;
  if (first === "help" && args[1] !== undefined) return await runProgram([args[1], "--help"]);
  if (first === "--help" || first === "-h" || first === "help") return show(overview());
  if (first === "--version" || first === "version") return show(`sluice ${VERSION}\n`);
  // `sluice` alone, or with flags only, serves.
  const isImplied = first === undefined || first.startsWith("-");
  const name = isImplied ? serve.name : first;
  const command = COMMANDS.find((each) => each.name === name);
  if (command === undefined) {
    const near = nearest(
      name,
      SHOWN.map((each) => each.name),
    );
    // Two letters that differ are all of a short word.
    const hint = near !== null && (name.length > 3 || near[0] === name[0]) ? near : null;
    return usageFault(
      `unknown command ${JSON.stringify(name)}${hint === null ? "" : `, did you mean ${JSON.stringify(hint)}?`}`,
      "sluice --help",
    );
  }
  try {
    const input = readInput(command, isImplied ? args : args.slice(1));
    if (input.flags.help === true) return show(helpOf(command));
    return await command.run(input);
  } catch (error) {
    if (error instanceof UsageError) return usageFault(error.message, `sluice ${command.name} --help`);
    throw error;
  }
}

function overview(): string {
  const width = Math.max(...SHOWN.map((command) => command.name.length)) + 2;
  return [
    "Sluice: an API gateway in one binary.",
    "",
    "Usage: sluice [COMMAND] [FLAGS]",
    "",
    ...SHOWN.map((command) => `  ${command.name.padEnd(width)}${firstSentence(command.summary)}`),
    "",
    "Without a command it serves. `sluice COMMAND --help` tells more.",
    "",
  ].join("\n");
}

/** Gives the first sentence; the rest stands in the command's own help. */
const firstSentence = (text: string): string => `${text.split(". ", 1)[0]?.replace(/\.$/, "")}.`;

function show(text: string): number {
  print(text);
  return 0;
}

function usageFault(message: string, see: string): number {
  process.stderr.write(`sluice: ${message}\nTry: ${see}\n`);
  return 2;
}
