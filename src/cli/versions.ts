import { print } from "../telemetry/stdout.ts";
import { type Command, type Input, UsageError } from "./arguments.ts";
import { jsonIn } from "./record-file.ts";
import { act, ask, askAll, REMOTE_FLAGS, RemoteFault, remotely, required, show, table, text } from "./remote.ts";

/** What the API says that a change has done, or would do. */
interface Outcome {
  readonly number: number;
  readonly created: readonly string[];
  readonly changed: readonly string[];
  readonly deleted: readonly string[];
}

interface Difference {
  readonly documents: readonly {
    readonly kind: string;
    readonly name: string;
    readonly change: string;
    readonly fields: readonly { readonly path: string; readonly before: unknown; readonly after: unknown }[];
  }[];
  readonly file: string;
}

const NOTE = { name: "note", value: "TEXT", help: "why, for whoever looks later" } as const;

export const versions: Command = {
  name: "versions",
  usage: "versions list | show N | diff N [M] | restore N [--note TEXT] [--file | --no-file]",
  summary:
    "Lists, shows, compares and restores versions of a running gateway's rules. A diff without M compares with what is in force now.",
  flags: [
    ...REMOTE_FLAGS,
    NOTE,
    { name: "file", help: "in a restore, write the configuration file as well" },
    { name: "no-file", help: "in a restore, leave the configuration file as it is" },
  ],
  actions: ["list", "show", "diff", "restore"],
  positionals: 3,
  run: (input) => {
    const at = (number: string | undefined): string => `/admin/versions/${encodeURIComponent(required(number, "a version's number"))}`;
    const named = input.positionals.length === 0 ? { ...input, positionals: ["list"] } : input;
    return act(named, "versions list|show|diff|restore", {
      list: async () => {
        const items = await askAll(input, "/admin/versions");
        table(input, items, ["number", "at", "actor", "source", "created", "changed", "deleted", "note"]);
      },
      show: async (number) => show(input, await ask(input, "GET", at(number))),
      diff: async (number) => {
        const to = input.positionals[2];
        const query = to === undefined ? "" : `?to=${encodeURIComponent(to)}`;
        const found = await ask<Difference>(input, "GET", `${at(number)}/diff${query}`);
        print(input.flags.json === true ? `${JSON.stringify(found)}\n` : described(found));
      },
      restore: async (number) => {
        const { file, "no-file": noFile } = input.flags;
        if (file === true && noFile === true) throw new UsageError("give --file or --no-file, not both");
        const said = file === true ? { file: true } : noFile === true ? { file: false } : {};
        told(input, await ask<Outcome>(input, "POST", `${at(number)}/restore`, { note: text(input, "note"), ...said }));
      },
    });
  },
};

export const dump: Command = {
  name: "dump",
  usage: "dump [--keys]",
  summary: "Prints all that the admin API of a running gateway made, as JSON for `sluice apply`. Secrets are not in it.",
  flags: [...REMOTE_FLAGS, { name: "keys", help: "with the keys of consumers, as their hash, start and end" }],
  positionals: 0,
  run: (input) =>
    remotely(async () => {
      const state = await ask(input, "GET", `/admin/state${input.flags.keys === true ? "?keys=true" : ""}`);
      print(`${JSON.stringify(state, null, 2)}\n`);
    }),
};

export const diff: Command = {
  name: "diff",
  usage: "diff FILE",
  summary:
    "Tells what `sluice apply FILE --prune` would create, change and delete. Exit status 0 where nothing differs, 2 where something does, 1 for anything else.",
  flags: REMOTE_FLAGS,
  positionals: 1,
  run: async (input) => {
    let isOther = false;
    const status = await remotely(async () => {
      const outcome = await put(input, { prune: true }, true);
      isOther = told(input, outcome) > 0;
    });
    return status === 0 && isOther ? 2 : status;
  },
};

export const apply: Command = {
  name: "apply",
  usage: "apply FILE [--prune] [--dry-run] [--note TEXT] [--yes]",
  summary: "Makes what a dump says of a running gateway, in one step: all of it or nothing. - reads it from stdin.",
  flags: [
    ...REMOTE_FLAGS,
    { name: "prune", help: "delete what is not in it, of the kinds that it has" },
    { name: "dry-run", help: "only tell what would be changed" },
    NOTE,
    { name: "yes", help: "mean it, where more than ten records would be deleted" },
  ],
  positionals: 1,
  run: (input) =>
    remotely(async () => {
      const { prune, yes, "dry-run": isTrial } = input.flags;
      told(input, await put(input, { prune: prune === true, yes: yes === true, note: text(input, "note") }, isTrial === true));
    }),
};

/** Sends the state that a file holds. */
const put = (input: Input, how: object, isTrial: boolean): Promise<Outcome> =>
  ask(input, "PUT", `/admin/state${isTrial ? "?dryRun=true" : ""}`, {
    state: jsonIn(required(input.positionals[0], "a file's name"), RemoteFault),
    ...how,
  });

/** Prints what a change has done. Gives how many records it is about. */
function told(input: Input, outcome: Outcome): number {
  const { created, changed, deleted } = outcome;
  const lines = [...created.map((each) => `+ ${each}`), ...changed.map((each) => `~ ${each}`), ...deleted.map((each) => `- ${each}`)];
  if (input.flags.json === true) print(`${JSON.stringify(outcome)}\n`);
  else print(lines.length === 0 ? "nothing differs\n" : `${lines.join("\n")}\n`);
  return lines.length;
}

const SIGNS: Readonly<Record<string, string>> = { created: "+", changed: "~", deleted: "-" };

function described({ documents, file }: Difference): string {
  const value = (each: unknown): string => (each === null ? "-" : JSON.stringify(each));
  const lines = documents.flatMap(({ kind, name, change, fields }) => [
    `${SIGNS[change] ?? "~"} ${kind} ${name}`,
    ...(change === "changed" ? fields.map(({ path, before, after }) => `    ${path}: ${value(before)} -> ${value(after)}`) : []),
  ]);
  if (file !== "") lines.push("~ file", file.trimEnd());
  return lines.length === 0 ? "nothing differs\n" : `${lines.join("\n")}\n`;
}
