import { closeSync, existsSync, fstatSync, fsyncSync, openSync, renameSync, rmSync, writeSync } from "node:fs";
import { resetFirst } from "../admin/tokens.ts";
import { Audit } from "../audit/audit.ts";
import { explained } from "../storage/faults.ts";
import { isServed } from "../storage/lock.ts";
import { openStorage, StorageError } from "../storage/open.ts";
import { print } from "../telemetry/stdout.ts";
import { systemClock } from "../values/clock.ts";
import { type Command, type Input, UsageError } from "./arguments.ts";
import { databasePathOf } from "./database.ts";
import { FILE, recordIn } from "./record-file.ts";
import { act, ask, askAll, askRaw, listOf, queryOf, REMOTE_FLAGS, RemoteFault, required, show, showSecret, table, text } from "./remote.ts";

/** Gives what a record is to be changed to: by the flags that were given and, where there is --file, by that file. Throws `UsageError` for nothing. */
function changesIn(input: Input, fields: Readonly<Record<string, unknown>>): object {
  const changes = Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
  if (text(input, "file") !== undefined) return { ...recordIn(input), ...changes };
  if (Object.keys(changes).length === 0) throw new UsageError("say what is to be changed, by a flag or by --file FILE");
  return changes;
}

/** Gives what a flag binds a key to. Throws `UsageError` where it names nothing: an empty list allows everything, which is hardly meant. */
function boundIn(input: Input, name: "routes" | "ips" | "models"): string[] | undefined {
  const list = listOf(text(input, name));
  if (list === undefined || list.some((each) => each.trim() !== "")) return list;
  const [action] = input.positionals;
  throw new UsageError(
    `--${name} names nothing: ${action === "create" ? `leave it out for all ${name}` : `for all ${name}, give "${name}": [] by --file FILE`}`,
  );
}

/** Gives the fields of a key that flags can set. Throws `UsageError`. */
const keyFieldsIn = (input: Input) => ({
  name: text(input, "name"),
  scopes: listOf(text(input, "scopes")),
  routes: boundIn(input, "routes"),
  ips: boundIn(input, "ips"),
  models: boundIn(input, "models"),
  expiresAt: text(input, "expires"),
});

export const keys: Command = {
  name: "keys",
  usage: "keys create --consumer ID | list | get ID | update ID | rotate ID | disable ID | enable ID | revoke ID",
  summary: "Creates, lists, shows, changes, rotates, disables and revokes API keys of a running gateway. A secret is printed once.",
  flags: [
    ...REMOTE_FLAGS,
    { name: "consumer", value: "ID", help: "whose key it is; in a list, only this consumer's" },
    { name: "name", value: "NAME", help: "a name for people" },
    { name: "scopes", value: "A,B", help: "what it may be used for" },
    { name: "routes", value: "A,B", help: "the only routes it may be used on" },
    { name: "ips", value: "A,B", help: "the only addresses and blocks it may be used from" },
    { name: "models", value: "A,B", help: "the only models it may call, as in gpt-5*" },
    { name: "expires", value: "TIME", help: "when it expires, as in 2027-01-31T00:00:00Z" },
    { name: "grace", value: "DURATION", help: "how long the secret before stays good, as in 24h" },
    FILE,
    { name: "quiet", help: "print the new secret alone" },
    { name: "status", value: "STATUS", help: "in a list, only active, disabled, expired or revoked ones" },
    { name: "search", value: "TEXT", help: "in a list, only those with this text in their id, name, consumer, first or last characters" },
  ],
  actions: ["create", "list", "get", "update", "rotate", "disable", "enable", "revoke"],
  positionals: 2,
  run: (input) => {
    const change = async (id: string | undefined, fields: object) =>
      show(input, await ask(input, "PATCH", `/admin/keys/${encodeURIComponent(required(id, "a key's id"))}`, fields));
    return act(input, "keys create|list|get|update|rotate|disable|enable|revoke", {
      get: async (id) => show(input, await ask(input, "GET", `/admin/keys/${encodeURIComponent(required(id, "a key's id"))}`)),
      update: (id) => change(id, changesIn(input, keyFieldsIn(input))),
      disable: (id) => change(id, { enabled: false }),
      enable: (id) => change(id, { enabled: true }),
      create: async () =>
        showSecret(
          input,
          await ask(input, "POST", "/admin/keys", {
            consumer: required(text(input, "consumer"), "--consumer ID"),
            ...keyFieldsIn(input),
          }),
          "key",
        ),
      list: async () => {
        const query = queryOf(input, ["consumer", "status", "search"]);
        table(input, await askAll(input, `/admin/keys?${query}`), [
          "id",
          "start",
          "end",
          "consumer",
          "name",
          "status",
          "expiresAt",
          "lastUsedAt",
        ]);
      },
      rotate: async (id) => {
        const grace = text(input, "grace");
        showSecret(
          input,
          await ask(
            input,
            "POST",
            `/admin/keys/${encodeURIComponent(required(id, "a key's id"))}/rotate`,
            grace === undefined ? {} : { gracePeriod: grace },
          ),
          "key",
        );
      },
      revoke: async (id) => {
        await ask(input, "DELETE", `/admin/keys/${encodeURIComponent(required(id, "a key's id"))}`);
        print(input.flags.json === true ? "{}\n" : `${id} is revoked\n`);
      },
    });
  },
};

export const consumers: Command = {
  name: "consumers",
  usage: "consumers create ID --tier TIER | list | get ID | update ID | disable ID | enable ID | link ID | delete ID",
  summary:
    "Creates, lists, shows, changes, disables, enables and deletes consumers of a running gateway, and makes links by which they see and change their own keys.",
  flags: [
    ...REMOTE_FLAGS,
    { name: "tier", value: "TIER", help: "the tier of a new consumer, or the one to change to; in a list, only those of this tier" },
    { name: "name", value: "NAME", help: "a name for people" },
    FILE,
    { name: "search", value: "TEXT", help: "in a list, only those with this text in their id or name" },
    { name: "ttl", value: "DURATION", help: "how long a link works, as in 1h; 30m by default" },
    { name: "quiet", help: "print the link alone" },
    { name: "force", help: "delete the consumer's keys as well" },
  ],
  actions: ["create", "list", "get", "update", "disable", "enable", "link", "delete"],
  positionals: 2,
  run: (input) => {
    const change = async (id: string | undefined, fields: object) =>
      show(input, await ask(input, "PATCH", `/admin/consumers/${encodeURIComponent(required(id, "an id"))}`, fields));
    return act(input, "consumers create|list|get|update|disable|enable|link|delete", {
      update: (id) => change(id, changesIn(input, { tier: text(input, "tier"), name: text(input, "name") })),
      disable: (id) => change(id, { enabled: false }),
      enable: (id) => change(id, { enabled: true }),
      create: async (id) =>
        show(
          input,
          await ask(input, "POST", "/admin/consumers", {
            id: required(id, "an id"),
            tier: required(text(input, "tier"), "--tier TIER"),
            name: text(input, "name"),
          }),
        ),
      list: async () => {
        const query = queryOf(input, ["tier", "search"]);
        table(input, await askAll(input, `/admin/consumers?${query}`), ["id", "tier", "name", "enabled", "source", "createdAt"]);
      },
      get: async (id) => show(input, await ask(input, "GET", `/admin/consumers/${encodeURIComponent(required(id, "an id"))}`)),
      link: async (id) => {
        const path = `/admin/consumers/${encodeURIComponent(required(id, "an id"))}/link`;
        showSecret(input, await ask(input, "POST", path, { ttl: text(input, "ttl") }), "url");
      },
      delete: async (id) => {
        const query = input.flags.force === true ? "?force=true" : "";
        await ask(input, "DELETE", `/admin/consumers/${encodeURIComponent(required(id, "an id"))}${query}`);
        print(input.flags.json === true ? "{}\n" : `${id} is deleted\n`);
      },
    });
  },
};

export const health: Command = {
  name: "health",
  usage: "health get | set NORMAL|DEGRADED",
  summary: "Shows or sets the system's status of a running gateway.",
  flags: [
    ...REMOTE_FLAGS,
    { name: "reason", value: "TEXT", help: "why" },
    { name: "ttl", value: "DURATION", help: "after this it is NORMAL again, as in 10m" },
  ],
  actions: ["get", "set"],
  positionals: 2,
  run: (input) =>
    act(input, "health get|set", {
      get: async () => show(input, await ask(input, "GET", "/admin/health")),
      set: async (status) =>
        show(
          input,
          await ask(input, "POST", "/admin/health", {
            status: required(status, "NORMAL or DEGRADED"),
            reason: text(input, "reason"),
            ttl: text(input, "ttl"),
          }),
        ),
    }),
};

export const audit: Command = {
  name: "audit",
  usage: "audit verify | list",
  summary: "Verifies or lists what was done to a running gateway. Exit status 1 when a row is not as it was written.",
  flags: [
    ...REMOTE_FLAGS,
    { name: "actor", value: "NAME", help: "in a list, only this actor's" },
    { name: "action", value: "ACTION", help: "in a list, only this action, as in key.revoke" },
    { name: "subject", value: "SUBJECT", help: 'in a list, only what was done to this, as in "consumer acme"' },
  ],
  actions: ["verify", "list"],
  positionals: 1,
  run: (input) =>
    act(input, "audit verify|list", {
      verify: async () => {
        const found = await ask<{ valid: boolean; rows: number; broken: { seq: number; why: string } | null }>(
          input,
          "GET",
          "/admin/audit/verify",
        );
        if (input.flags.json === true) print(`${JSON.stringify(found)}\n`);
        else if (found.broken === null) print(`${found.rows} rows are as they were written\n`);
        else print(`row ${found.broken.seq}: ${found.broken.why}; the ${found.rows} rows before it are as they were written\n`);
        return found.valid ? 0 : 1;
      },
      list: async () => {
        const query = queryOf(input, ["actor", "action", "subject"]);
        table(input, await askAll(input, `/admin/audit?${query}`), ["seq", "at", "actor", "ip", "action", "subject"]);
      },
    }),
};

export const backup: Command = {
  name: "backup",
  usage: "backup FILE [--force]",
  summary:
    "Writes a consistent copy of a running gateway's database to FILE, for its owner only. `sluice restore FILE` puts it back. The tables of activities (activities.db) are not in it.",
  flags: [...REMOTE_FLAGS, { name: "force", help: "overwrite FILE if it exists" }],
  positionals: 1,
  run: (input) => {
    const [file] = input.positionals;
    return act({ ...input, positionals: ["backup"] }, "backup FILE", {
      backup: async () => {
        const target = required(file, "a file's name");
        const refuseExisting = (): void => {
          if (input.flags.force !== true && existsSync(target)) throw new RemoteFault(`${target} exists: --force overwrites it`);
        };
        refuseExisting();
        const answer = await askRaw(input, "POST", "/admin/backup");
        // Under another name first: a copy that breaks off must not look like a backup.
        const part = `${target}.part-${process.pid}`;
        try {
          const bytes = await keep(answer, part);
          refuseExisting();
          renameSync(part, target);
          show(input, { file: target, bytes });
        } catch (error) {
          rmSync(part, { force: true });
          if (error instanceof RemoteFault) throw error;
          throw new RemoteFault(`${target} could not be written: ${error instanceof Error ? error.message : String(error)}`);
        }
      },
    });
  },
};

/** Writes an answer's body to a new file, for the owner only, and gives its size when all of it is on the disk. */
async function keep(answer: Response, file: string): Promise<number> {
  const to = openSync(file, "wx", 0o600);
  try {
    for await (const chunk of answer.body ?? []) for (let at = 0; at < chunk.length; ) at += writeSync(to, chunk, at);
    fsyncSync(to);
    const bytes = fstatSync(to).size;
    if (bytes === 0) throw new Error("the answer was empty");
    return bytes;
  } finally {
    closeSync(to);
  }
}

export const admin: Command = {
  name: "admin",
  usage: "admin reset-token [--data DIR] [--config FILE]",
  summary: "Sets a new admin token on the data folder itself, for when you have lost it. The one before stops working.",
  flags: [
    { name: "data", value: "DIR", help: "the folder of the database (SLUICE_DATA, else that of storage.path), as in /var/lib/sluice" },
    { name: "config", value: "FILE", help: "the configuration file (SLUICE_CONFIG, else config.json)" },
  ],
  actions: ["reset-token"],
  positionals: 1,
  run: async (input) => {
    if (input.positionals[0] !== "reset-token") throw new UsageError("an action is needed: admin reset-token");
    try {
      const path = databasePathOf(text(input, "data"), text(input, "config"));
      // A new database here would have a token that no gateway takes.
      if (!existsSync(path))
        throw new StorageError(`there is no database ${path}: name the gateway's data folder, as in --data /var/lib/sluice`);
      const storage = openStorage(path);
      try {
        const token = resetFirst({ storage, clock: systemClock, audit: new Audit({ storage, clock: systemClock }) });
        print(`${token}\n`);
        process.stderr.write(
          `sluice: changed in ${path}, which ${isServed(path) ? "a gateway uses: it takes the new token at once" : "no gateway uses at the moment"}\n`,
        );
        if (process.env.SLUICE_ADMIN_TOKEN)
          process.stderr.write("sluice: a gateway with SLUICE_ADMIN_TOKEN takes that one instead of this\n");
      } finally {
        storage.close();
      }
      return 0;
    } catch (error) {
      const cause = explained(error, databasePathOf(text(input, "data"), text(input, "config")));
      if (!(cause instanceof StorageError)) throw error;
      process.stderr.write(`sluice: ${cause.message}\n`);
      return 1;
    }
  },
};
