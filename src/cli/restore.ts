import { existsSync, readFileSync } from "node:fs";
import { findNodeAtLocation } from "jsonc-parser";
import demoConfig from "../../config.json";
import { type Restored, restore as restoreFile } from "../backups/restore.ts";
import { type Named, noteShared, type Revocations } from "../backups/revocations.ts";
import { loadConfig } from "../config/load.ts";
import { treeOf } from "../config/tree.ts";
import { Replication } from "../records/replication.ts";
import { Secrets } from "../records/sealing.ts";
import { RedisDown, RedisLink } from "../redis/link.ts";
import type { RedisConfig } from "../redis/settings.ts";
import { StorageError } from "../storage/faults.ts";
import type { Storage } from "../storage/open.ts";
import { print } from "../telemetry/stdout.ts";
import { systemClock } from "../values/clock.ts";
import { type Command, type Input, UsageError } from "./arguments.ts";
import { meantFile } from "./config-file.ts";
import { databasePathOf } from "./database.ts";
import { text } from "./remote.ts";

/** The time that Redis has to answer, when all records are written to it. */
const REDIS_TIMEOUT = "5s";

export const restore: Command = {
  name: "restore",
  usage: "restore FILE [--data DIR] [--config FILE] [--as-it-was] [--replace-shared]",
  summary:
    "Puts a backup in the place of the database, on the data folder itself: stop the gateway first. The database before is kept beside it. What was revoked or disabled since the backup stays so.",
  flags: [
    { name: "data", value: "DIR", help: "the folder of the database (SLUICE_DATA, else that of storage.path), as in /var/lib/sluice" },
    { name: "config", value: "FILE", help: "the configuration file (SLUICE_CONFIG, else config.json)" },
    {
      name: "as-it-was",
      help: "make keys, consumers and tokens valid again that were revoked, disabled, rotated or deleted after the backup",
    },
    { name: "replace-shared", help: "with redis in the configuration: make the backup's records those of all instances" },
    { name: "json", help: "print JSON" },
  ],
  positionals: 1,
  run: async (input) => {
    const [file] = input.positionals;
    if (file === undefined) throw new UsageError("a backup is needed: sluice restore FILE");
    try {
      const databasePath = databasePathOf(text(input, "data"), text(input, "config"));
      const redis = redisOf(text(input, "config"), input.flags["replace-shared"] === true);
      const restored = await restoreFile({
        file,
        databasePath,
        isAsItWas: input.flags["as-it-was"] === true,
        secrets: new Secrets(process.env.SLUICE_SECRET, process.env.SLUICE_SECRET_OLD),
        clock: systemClock,
        share: redis === null ? null : (storage, found, settle) => share(redis, storage, found, settle),
      });
      print(input.flags.json === true ? `${JSON.stringify(restored)}\n` : described(file, restored, input));
      return 0;
    } catch (error) {
      if (!(error instanceof StorageError)) throw error;
      process.stderr.write(`sluice: ${error.message}\n`);
      return 1;
    }
  },
};

/** Gives Redis' settings, when the records are shared through it; they may only be replaced when that is wished. */
function redisOf(named: string | undefined, mayReplace: boolean): RedisConfig | null {
  const given = named ?? (process.env.SLUICE_CONFIG || undefined);
  const file = given ?? meantFile(undefined);
  // It says whether records are shared: a name that is mistyped must not mean that they are not.
  if (given !== undefined && !existsSync(given)) throw new StorageError(`there is no configuration file ${given}`);
  const content = existsSync(file) ? readFileSync(file, "utf8") : JSON.stringify(demoConfig);
  const loaded = loadConfig(content, process.env, existsSync(file) ? file : null);
  if ("config" in loaded) {
    const { redis } = loaded.config;
    if (redis !== null && !mayReplace)
      throw new StorageError(
        "several instances share their records through Redis, which has later ones than any backup and would undo this: with --replace-shared the backup's records become those of all instances",
      );
    return redis;
  }
  const { root } = treeOf(content, null);
  const node = root === undefined ? undefined : findNodeAtLocation(root, ["redis"]);
  if ((node === undefined || node.type === "null") && !process.env.SLUICE_REDIS_URL) return null;
  throw new StorageError(`${file} has faults, and says where Redis is, which is needed here: \`sluice check ${file}\` names them`);
}

async function share(redis: RedisConfig, storage: Storage, found: Revocations, settle: () => void): Promise<void> {
  const link = new RedisLink({ config: { ...redis, timeout: REDIS_TIMEOUT }, clock: systemClock, onChange: () => {} });
  let failure: unknown = null;
  try {
    await link.tried;
    const replication = new Replication({
      link,
      storage,
      applyRemoteChanges: () => {},
      onFault: (error) => {
        failure ??= error;
      },
      onRebuilt: () => {},
    });
    // It follows nobody: what others have is to be replaced.
    replication.close();
    await replication.replaceShared((kind, id, row) => noteShared(storage, kind, id, row, found), settle);
    if (failure !== null) throw failure;
  } catch (error) {
    if (!(error instanceof RedisDown)) throw error;
    throw new StorageError(
      `Redis can't be asked (${error.message}), and the records that instances share can't be replaced without it: the database here is as it was; run this again when Redis is there`,
    );
  } finally {
    link.close();
  }
}

const called = ({ id, name }: Named): string => (name === null ? id : `${id} "${name}"`);

function described(file: string, restored: Restored, input: Input): string {
  const { database, before, asOf, holds, keys, rotated, disabledKeys, disabledConsumers, tokens, isFirstTokenKept, sealed, unknown } =
    restored;
  const isAsItWas = input.flags["as-it-was"] === true;
  const lines = [
    `${database} is what ${file} holds${asOf === null ? "" : `, as of ${asOf}`}`,
    `  ${Object.entries(holds)
      .map(([what, count]) => `${what} ${count}`)
      .join(", ")} (what the configuration file declares is not in it)`,
    ...(before === null ? [] : [`the database before is kept as ${before}`]),
  ];
  const since = [
    ...keys.map((key) => `  key ${called(key)} of ${key.consumer}: revoked`),
    ...rotated.map((key) => `  key ${called(key)} of ${key.consumer}: rotated`),
    ...disabledKeys.map((key) => `  key ${called(key)} of ${key.consumer}: disabled`),
    ...disabledConsumers.map((consumer) => `  consumer ${called(consumer)}: disabled`),
    ...tokens.map((token) => `  admin token ${called(token)}: revoked`),
    ...(isFirstTokenKept ? ["  the first admin token: reset"] : []),
  ];
  if (since.length > 0)
    lines.push(
      isAsItWas
        ? "these are valid again as they were, though that was changed after the backup:"
        : "these stay as they were made after the backup (--as-it-was would undo that):",
      ...since,
    );
  if (unknown !== null && unknown !== "there was no database" && !isAsItWas)
    lines.push(`whether keys, consumers or tokens were revoked or disabled after the backup can't be told: ${unknown}`);
  if (sealed.length > 0)
    lines.push(
      `the secrets of these can't be read: ${sealed.join(", ")}. Start the gateway with the SLUICE_SECRET of the time of the backup`,
    );
  return `${lines.join("\n")}\n`;
}
