import { withDefaults } from "../schema/defaults.ts";
import { type Fault, type Path, type Step, schemaFaults } from "../schema/faults.ts";
import { ourWord } from "../schema/words.ts";
import { isObject } from "../values/json.ts";
import { crossFaults } from "./rules.ts";
import { Config } from "./schema.ts";
import type { Known } from "./section.ts";

/** The times that faulty parts are taken out, at most, until none is left: an object that lacks a field is taken out with it. */
const MAX_PASSES = 32;

/**
 * Gives what is wrong between the sound parts of a configuration whose fields are not all of the right kind, so that one misspelt field
 * does not hide a dangling name elsewhere. Faulty fields are left out, and nothing is said of what hangs on them. `value` is the file's,
 * without defaults.
 */
export function crossFaultsDespite(value: unknown, faults: readonly Fault[]): Fault[] {
  if (!isObject(value)) return [];
  const pruned = structuredClone(value);
  const places = new WeakMap<readonly unknown[], number[]>();
  let wrong = faults;
  for (let pass = 0; wrong.length > 0; pass++) {
    if (pass === MAX_PASSES) return [];
    if (!takeOut(pruned, wrong, places)) return [];
    wrong = schemaFaults(Config, withDefaults(Config, structuredClone(pruned)));
  }
  const config = withDefaults(Config, structuredClone(pruned)) as Config;
  const told = faults.map(({ path }) => path);
  /** Lists of names that could not be read: whatever refers to them may be right. */
  const unread = ["tier", "upstream", "pool", "issuer", "route"].filter((kind) =>
    told.some(([first, ...rest]) => rest.length === 0 && meaning(first) === `${kind}s` && !isObject(value[first as string])),
  );
  return crossFaults(config, namesIn(value))
    .map((fault) => moved(fault, pruned, places))
    .filter(
      ({ path, message }) =>
        // What was taken out, what is in it, and what it was in.
        !told.some((other) => isWithin(path, other) || isWithin(other, path)) &&
        !unread.some((kind) => message.startsWith(`there is no ${kind} `)),
    );
}

/** Gives the field of the top level that a name stands for. */
const meaning = (name: Step | undefined): string => {
  if (typeof name !== "string") return "";
  return Object.hasOwn(Config.properties, name) ? name : (ourWord(Config, name) ?? name);
};

/** Gives the names that others may refer to, also where what they name is faulty or its list is misspelt. */
function namesIn(value: Record<string, unknown>): Partial<Pick<Known, "tiers" | "upstreams" | "pools" | "issuers">> {
  const named = (kind: string) =>
    new Set(Object.entries(value).flatMap(([name, child]) => (meaning(name) === kind && isObject(child) ? Object.keys(child) : [])));
  return { tiers: named("tiers"), upstreams: named("upstreams"), pools: named("pools"), issuers: named("issuers") };
}

const isWithin = (path: Path, outer: Path): boolean => outer.every((step, i) => path[i] === step);

/**
 * Takes what is faulty out of a value, and notes where the entries of shortened lists were. Gives false when nothing could be taken out.
 */
function takeOut(root: Record<string, unknown>, faults: readonly Fault[], places: WeakMap<readonly unknown[], number[]>): boolean {
  const entries = new Map<unknown[], Set<number>>();
  let isLess = false;
  for (const { path } of faults) {
    // A missing field takes the object that lacks it along.
    for (let depth = path.length; depth > 0; depth--) {
      const outer = path.slice(0, depth - 1).reduce<unknown>((here, step) => (here as Record<Step, unknown> | undefined)?.[step], root);
      const step = path[depth - 1] as Step;
      if (Array.isArray(outer) && typeof step === "number" && step < outer.length) {
        entries.set(outer, (entries.get(outer) ?? new Set()).add(step));
        isLess = true;
        break;
      }
      if (isObject(outer) && Object.hasOwn(outer, step)) {
        delete outer[step];
        isLess = true;
        break;
      }
    }
  }
  for (const [list, gone] of entries) {
    const before = places.get(list) ?? list.map((_, i) => i);
    places.set(
      list,
      before.filter((_, i) => !gone.has(i)),
    );
    const left = list.filter((_, i) => !gone.has(i));
    list.splice(0, list.length, ...left);
  }
  return isLess;
}

/** Gives a fault with the positions that entries have in the file. */
function moved(fault: Fault, root: unknown, places: WeakMap<readonly unknown[], number[]>): Fault {
  let here: unknown = root;
  const path = fault.path.map((step) => {
    const was = typeof step === "number" && Array.isArray(here) ? (places.get(here)?.[step] ?? step) : step;
    here = (here as Record<Step, unknown> | undefined)?.[step];
    return was;
  });
  const message = fault.message.replace(/\b(routes|consumers)\[(\d+)\]/g, (whole, kind: string, i: string) => {
    const list = (root as Record<string, unknown>)[kind];
    return Array.isArray(list) ? `${kind}[${places.get(list)?.[Number(i)] ?? i}]` : whole;
  });
  return { ...fault, path, message };
}
