import type { Static } from "@sinclair/typebox";
import { type ConsumerPatch, type Consumers, NewConsumer } from "../consumers/consumers.ts";
import { invalid, Refused, refused } from "../http/refused.ts";
import { type DumpedKey, type KeyPatch, type Keys, NewKey } from "../keys/keys.ts";
import { type Fault, schemaFaults } from "../schema/faults.ts";
import { isObject } from "../values/json.ts";

/** The most consumers and keys of one dump: more are no file that anybody reads, and `sluice backup` has all of them. */
const MAX_CONSUMERS = 20_000;
const MAX_KEYS = 100_000;
const PORTION = 500;

/** Holds a consumer as a dump has it. */
export interface DumpedConsumer extends Record<string, unknown> {
  readonly keys?: readonly DumpedKey[];
}

/** Says what becomes of one consumer, or of a key of one. */
export interface ConsumerStep {
  readonly change: "created" | "changed" | "deleted";
  /** The consumer's id. */
  readonly id: string;
  /** As people read it. */
  readonly subject: string;
  readonly value: Record<string, unknown>;
  /** The key; left out: it is of the consumer. `id`: `null` for one that is not there yet. */
  readonly key?: { readonly id: string | null; readonly hash: string };
}

const FIELDS = ["tier", "name", "limits", "quota", "models", "metadata", "enabled"] as const;
const KEY_FIELDS = ["name", "scopes", "routes", "ips", "models", "limits", "quota", "metadata", "expiresAt", "enabled"] as const;

const EMPTY: Readonly<Record<string, unknown>> = { enabled: true };

/** Leaves out what says nothing. */
const told = (fields: readonly string[], record: Readonly<Record<string, unknown>>): Record<string, unknown> =>
  Object.fromEntries(
    fields
      .map((field) => [field, record[field]] as const)
      .filter(
        ([field, value]) =>
          value !== undefined && value !== null && value !== EMPTY[field] && !(Array.isArray(value) && value.length === 0),
      ),
  );

/** Gives all consumers that the API made, by their ids. Throws 409 where there are too many. */
export function dumpConsumers(consumers: Consumers, keys: Keys, hasKeys: boolean): Record<string, DumpedConsumer> {
  const dumped: Record<string, DumpedConsumer> = {};
  let [count, keyCount] = [0, 0];
  for (let after = ""; ; ) {
    const page = consumers.storedAfter(after, PORTION);
    for (const consumer of page) {
      const own = hasKeys ? keys.dumpOf(consumer.id) : null;
      count++;
      keyCount += own?.length ?? 0;
      if (count > MAX_CONSUMERS || keyCount > MAX_KEYS)
        throw refused(
          "conflict",
          `There are more than ${MAX_CONSUMERS} consumers or ${MAX_KEYS} keys, which are too many for one file: \`sluice backup\` has all of them.`,
        );
      dumped[consumer.id] = { ...told(FIELDS, { ...consumer }), ...(own === null ? {} : { keys: own.map(shownKey) }) };
    }
    if (page.length < PORTION) return dumped;
    after = page.at(-1)?.id ?? "";
  }
}

const shownKey = ({ hash, start, end, ...key }: DumpedKey): DumpedKey =>
  ({ hash, start, end, ...told(KEY_FIELDS, { ...key }) }) as DumpedKey;

/** Gives what makes these consumers of those that are there. Throws 422 for what is no consumer. */
export function consumerSteps(
  consumers: Consumers,
  keys: Keys,
  wanted: Readonly<Record<string, DumpedConsumer>> | undefined,
  prune: boolean,
): ConsumerStep[] {
  if (wanted === undefined) return [];
  const faults: Fault[] = Object.entries(wanted).flatMap(([id, value]) => faultsOf(id, value));
  if (faults.length > 0) throw invalid(faults);
  const there = dumpConsumers(consumers, keys, true);
  const steps: ConsumerStep[] = [];
  for (const [id, { keys: own, ...value }] of Object.entries(wanted)) {
    const before = there[id];
    const subject = `consumer ${id}`;
    if (before === undefined) steps.push({ change: "created", id, subject, value });
    else if (!Bun.deepEquals(told(FIELDS, value), told(FIELDS, before))) steps.push({ change: "changed", id, subject, value });
    if (own !== undefined) steps.push(...keySteps(id, keys.dumpOf(id), own, prune));
  }
  const gone = prune ? Object.keys(there).filter((id) => !Object.hasOwn(wanted, id)) : [];
  return [...steps, ...gone.map((id): ConsumerStep => ({ change: "deleted", id, subject: `consumer ${id}`, value: {} }))];
}

function keySteps(
  id: string,
  there: readonly (DumpedKey & { readonly id: string })[],
  wanted: readonly DumpedKey[],
  prune: boolean,
): ConsumerStep[] {
  const known = new Map(there.map((key) => [key.hash, key]));
  const subjectOf = ({ start, end }: DumpedKey): string => `key ${start}…${end} of ${id}`;
  const steps = wanted.flatMap((key): ConsumerStep[] => {
    const before = known.get(key.hash);
    const value = { ...key };
    if (before === undefined) return [{ change: "created", id, subject: subjectOf(key), value, key: { id: null, hash: key.hash } }];
    if (Bun.deepEquals(told(KEY_FIELDS, value), told(KEY_FIELDS, { ...before }))) return [];
    return [{ change: "changed", id, subject: subjectOf(key), value, key: { id: before.id, hash: key.hash } }];
  });
  const kept = new Set(wanted.map(({ hash }) => hash));
  const gone = prune ? there.filter(({ hash }) => !kept.has(hash)) : [];
  return [
    ...steps,
    ...gone.map(
      (key): ConsumerStep => ({ change: "deleted", id, subject: subjectOf(key), value: {}, key: { id: key.id, hash: key.hash } }),
    ),
  ];
}

/** Makes the steps, within the caller's transaction. Throws 422 with the faults of all. */
export function makeConsumers(consumers: Consumers, keys: Keys, steps: readonly ConsumerStep[]): void {
  const faults: { path: (string | number)[]; message: string }[] = [];
  for (const step of steps) {
    try {
      if (step.key === undefined) makeConsumer(consumers, keys, step);
      else makeKey(keys, step, step.key);
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      faults.push({ path: ["consumers", step.id], message: error.message.replace(/\.$/, "") });
    }
  }
  if (faults.length > 0) throw invalid(faults);
}

/** Gives null for the fields that are not there, so that a patch removes them. */
const allOf = (fields: readonly string[], value: Record<string, unknown>): Record<string, unknown> =>
  Object.fromEntries(fields.map((field) => [field, value[field] ?? (field === "enabled" ? true : field === "quota" ? [] : null)]));

function makeConsumer(consumers: Consumers, keys: Keys, { change, id, value }: ConsumerStep): void {
  // The fields were checked by their schemas.
  if (change === "created") consumers.create({ ...value, id } as NewConsumer);
  else if (change === "changed") consumers.patch(id, allOf(FIELDS, value) as Static<typeof ConsumerPatch>, null);
  else consumers.remove(id, true, null, (consumer) => keys.removeOf(consumer));
}

function makeKey(keys: Keys, { change, id, value }: ConsumerStep, key: { readonly id: string | null; readonly hash: string }): void {
  if (key.id === null) {
    const { start, end, ...fields } = value as unknown as DumpedKey;
    keys.importDumped({ ...(fields as Omit<NewKey, "consumer">), consumer: id }, { start, end });
  } else if (change === "deleted") keys.revoke(key.id, null);
  else keys.patch(key.id, allOf(KEY_FIELDS, value) as Static<typeof KeyPatch>, null);
}

function faultsOf(id: string, value: unknown): Fault[] {
  const at = ["consumers", id];
  if (!isObject(value)) return [{ path: at, message: "must be an object" }];
  const { keys = [], ...consumer } = value;
  const own = schemaFaults(NewConsumer, { ...consumer, id }, at);
  if (!Array.isArray(keys)) return [...own, { path: [...at, "keys"], message: "must be a list" }];
  return [
    ...own,
    ...keys.flatMap((key: unknown, i): Fault[] => {
      const where = [...at, "keys", i];
      if (!isObject(key)) return [{ path: where, message: "must be an object" }];
      const { start, end, ...fields } = key;
      if (typeof key.hash !== "string") return [{ path: [...where, "hash"], message: "is required" }];
      const shown = [start, end].every((text) => text === undefined || (typeof text === "string" && text.length <= 8));
      return [
        ...schemaFaults(NewKey, { ...fields, consumer: id }, where),
        ...(shown ? [] : [{ path: [...where, "start"], message: "must be the first characters of the key, at most 8" }]),
      ];
    }),
  ];
}
