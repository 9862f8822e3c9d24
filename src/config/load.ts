import type { Node } from "jsonc-parser";
import type { Fault, Path } from "../schema/faults.ts";
import { fillIn } from "../schema/fill-in.ts";
import { isObject } from "../values/json.ts";
import { takeNotYet } from "./not-yet.ts";
import { crossFaultsDespite } from "./partial.ts";
import { crossFaults } from "./rules.ts";
import { Config } from "./schema.ts";
import { EMPTY, position, treeOf } from "./tree.ts";

/** Holds a configuration, or its faults. `given`: what the file says, without defaults. */
export type Loaded = { readonly config: Config; readonly given: unknown } | { readonly faults: readonly Fault[] };

export type Environment = Readonly<Record<string, string | undefined>>;

/**
 * Reads a configuration: JSON with comments and trailing commas, or YAML; `${NAME}` replaced from the environment, checked as a whole,
 * defaults filled in. Gives every fault, not just the first, each with the line and column it stands at. `file`: the one whose name says
 * which of the two it is; `null`: the text itself tells, as in what was kept of a file.
 */
export function loadConfig(text: string, env: Environment, file: string | null = null): Loaded {
  const { root, fault } = treeOf(text, file);
  if (root === undefined || fault !== null) return { faults: [fault ?? { path: [], message: EMPTY, line: 1, column: 1 }] };
  const faults: Fault[] = [];
  const value = valueAt(root, [], env, faults);
  const unset = [...faults];
  // The environment beats the file.
  const isRedisFromEnvironment = Boolean(env.SLUICE_REDIS_URL) && isObject(value);
  if (isRedisFromEnvironment) value.redis = { ...(isObject(value.redis) ? value.redis : {}), url: env.SLUICE_REDIS_URL };
  // Its keys are public.
  if (isObject(value) && value.demo === true && (value.server === undefined || isObject(value.server)))
    value.server = { host: "127.0.0.1", ...value.server };
  faults.push(...takeNotYet(value));
  const checked = fillIn(Config, value);
  const wrong = checked.faults.length === 0 ? crossFaults(checked.value as Config) : crossFaultsDespite(value, checked.faults);
  for (const fault of [...checked.faults, ...wrong]) {
    // Of a text whose variable is not set nothing else can be said.
    if (unset.some(({ path }) => Bun.deepEquals(path, fault.path))) continue;
    const isVariables = isRedisFromEnvironment && fault.path.length === 2 && fault.path[0] === "redis" && fault.path[1] === "url";
    faults.push(isVariables ? { ...fault, message: `the environment variable SLUICE_REDIS_URL ${fault.message}` } : fault);
  }
  if (faults.length > 0) return { faults: placed(text, faults) };
  return { config: checked.value as Config, given: value };
}

/** Adds to each fault the line and column it stands at in the file's text. */
export function placed(text: string, faults: readonly Fault[]): Fault[] {
  const locate = locator(text, treeOf(text, null).root);
  return faults.map((fault) => ({ ...fault, ...locate(fault) })).sort(byPlace);
}

const byPlace = (a: Fault, b: Fault): number => (a.line ?? 0) - (b.line ?? 0) || (a.column ?? 0) - (b.column ?? 0);

/** Gives the value of a syntax tree's node. Adds faults for names that are given twice, and for variables that are not set. */
function valueAt(node: Node, path: Path, env: Environment, faults: Fault[]): unknown {
  switch (node.type) {
    case "object": {
      const value: Record<string, unknown> = {};
      for (const property of node.children ?? []) {
        const [name, child] = property.children ?? [];
        if (name === undefined || child === undefined) continue;
        const key = String(name.value);
        const at = [...path, key];
        if (key === "__proto__") faults.push({ path: at, message: "is not a name that can be used here", isOfName: true });
        else if (Object.hasOwn(value, key)) faults.push({ path: at, message: "stands here twice", isOfName: true });
        else value[key] = valueAt(child, at, env, faults);
      }
      return value;
    }
    case "array":
      return (node.children ?? []).map((child, i) => valueAt(child, [...path, i], env, faults));
    case "string":
      return fromEnvironment(String(node.value), path, env, faults);
    default:
      return node.value;
  }
}

/**
 * Replaces `${NAME}` by the variable's value; `$${` stands for a literal `${`. Adds faults for variables that are not set, or not written
 * so.
 */
function fromEnvironment(text: string, path: Path, env: Environment, faults: Fault[]): string {
  if (!text.includes("${")) return text;
  return text.replace(/\$(\$\{)|\$\{([^}]*)\}?/g, (whole, escaped: string | undefined, name: string | undefined) => {
    if (escaped !== undefined) return escaped;
    if (name === undefined || !whole.endsWith("}") || !/^[A-Za-z_][A-Za-z0-9_]*$/.test(name)) {
      faults.push({ path, message: "a variable is written ${NAME}; write $${ for the characters themselves" });
      return whole;
    }
    const value = env[name];
    if (value === undefined) faults.push({ path, message: `the environment variable ${name} is not set` });
    return value ?? whole;
  });
}

/** Finds where a fault stands: a fault of a name at the name, a missing field at the object that lacks it, anything else at its value. */
function locator(text: string, root: Node | undefined): (fault: Fault) => { line: number; column: number } {
  return ({ path, isOfName }) => {
    let node = root;
    for (const [i, step] of path.entries()) {
      const isLast = i === path.length - 1;
      if (typeof step === "number") {
        const entry = node?.type === "array" ? node.children?.[step] : undefined;
        if (entry === undefined) break;
        node = entry;
        continue;
      }
      // The last of two equal names is the one that is too many.
      const property = node?.type === "object" ? node.children?.findLast((each) => each.children?.[0]?.value === step) : undefined;
      if (property === undefined) break;
      node = isLast && isOfName ? property : (property.children?.[1] ?? property);
    }
    return position(text, node?.offset ?? 0);
  };
}
