import { readFileSync } from "node:fs";
import { basename, extname, isAbsolute, relative } from "node:path";
import type { Plugin, Tools } from "sluice";
import { orNearest } from "../schema/faults.ts";
import { isObject } from "../values/json.ts";
import { FUNCTIONS, HOOKS } from "./hook.ts";
import { forget, realPathOf, type Sources } from "./source.ts";

/** Milliseconds that the program of a plug-in, and its setup, may take: a reload waits for them. */
const LOADS_WITHIN = 10_000;

/** The errors of one file that are told at most. */
const MAX_ERRORS = 3;

const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;

/** Holds what a plug-in's file exports. */
export interface LoadedModule {
  readonly plugin: Plugin;
  readonly name: string;
  /** The name under which Bun keeps the module. */
  readonly kept: string;
}

/** Says in one sentence why a plug-in can't be had. */
export interface LoadFault {
  readonly fault: string;
}

/** How often a file was imported: each import has a name of its own, by which Bun reads the file anew. */
let imports = 0;

/**
 * Imports a plug-in's file, and again what it imports by relative paths. `folder`: the one that its paths are told from. One at a time:
 * Bun's memory of modules is the process's.
 */
export async function loadModule(file: string, sources: Sources, folder: string): Promise<LoadedModule | LoadFault> {
  if (sources.get(file) === "gone") return { fault: `there is no file ${file}` };
  forget(sources.keys());
  imports++;
  const kept = `${realPathOf(file)}?v=${imports}`;
  const importing: Promise<{ readonly default?: unknown }> = import(kept);
  try {
    const module = await inTime(importing, "the file did not load");
    const plugin = pluginOf(module.default, file);
    if (!("fault" in plugin)) return { ...plugin, kept };
    forget([kept]);
    return { fault: `${shown(file, folder)}: ${plugin.fault}` };
  } catch (error) {
    // Also when it comes late.
    void importing.catch(() => {}).finally(() => forget([kept]));
    return { fault: faultText(error, file, sources, folder) };
  }
}

/** Calls a plug-in's setup. Gives why it failed; `null`: it is ready. */
export async function setUp(
  { plugin }: Pick<LoadedModule, "plugin">,
  options: object,
  tools: Tools,
  { file, sources, folder }: { readonly file: string; readonly sources: Sources; readonly folder: string },
): Promise<string | null> {
  try {
    // Its own copy: it may keep and change it.
    await inTime(
      Promise.resolve(plugin.setup?.(structuredClone(options) as Readonly<Record<string, unknown>>, tools)),
      "setup did not end",
    );
    return null;
  } catch (error) {
    return `setup: ${faultText(error, file, sources, folder)}`;
  }
}

/** Gives what is exported as a plug-in, or what keeps it from being one. */
function pluginOf(exported: unknown, file: string): Omit<LoadedModule, "kept"> | LoadFault {
  if (exported === undefined) return { fault: "it exports no plug-in: write `export default { … }` with the hooks that you need" };
  if (!isObject(exported)) return { fault: "its default export is no object: write `export default { … }` with the hooks that you need" };
  // Names are looked up as they are: whether each is a function is what is found out here.
  const plugin = exported as Record<string, unknown>;
  for (const name of FUNCTIONS)
    if (plugin[name] !== undefined && typeof plugin[name] !== "function") return { fault: `${name} is no function` };
  for (const name of Object.keys(plugin)) {
    const near = typeof plugin[name] !== "function" || FUNCTIONS.some((known) => known === name) ? "" : orNearest(name, FUNCTIONS);
    if (near !== "") return { fault: `there is no hook ${JSON.stringify(name)}${near}` };
  }
  if (!HOOKS.some((name) => plugin[name] !== undefined)) return { fault: `it has no hook: write one of ${HOOKS.join(", ")}` };
  const own = plugin.name ?? nameOf(file);
  if (typeof own !== "string" || !NAME.test(own)) return { fault: "its name must have 1 to 64 letters, digits and . _ - in it" };
  return { plugin: plugin as Plugin, name: own };
}

const nameOf = (file: string): string =>
  basename(file, extname(file))
    .replace(/[^A-Za-z0-9._-]/g, "-")
    .replace(/^[^A-Za-z0-9]+/, "")
    .slice(0, 64) || "plugin";

/** Waits for `work`; rejects when it takes longer than a load may. */
async function inTime<T>(work: Promise<T>, says: string): Promise<T> {
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => late.reject(new Error(`${says} within ${LOADS_WITHIN / 1000} seconds`)), LOADS_WITHIN);
  try {
    return await Promise.race([work, late.promise]);
  } finally {
    clearTimeout(timer);
  }
}

/** Describes what Bun says of a file that it can't build. */
interface BuildError {
  readonly message: string;
  readonly position?: { readonly file?: string; readonly line: number; readonly column: number } | null;
  readonly specifier?: string;
  readonly referrer?: string;
}

/** Says what is wrong, with the place in the plug-in's own files as far as it is known. */
function faultText(error: unknown, file: string, sources: Sources, folder: string): string {
  if (error instanceof AggregateError)
    return error.errors
      .slice(0, MAX_ERRORS)
      .map((each) => faultText(each, file, sources, folder))
      .join("; ");
  const { message, position, specifier, referrer } = messageOf(error);
  if (position) return `${shown(position.file || file, folder)}:${position.line}:${position.column}: ${message}`;
  if (specifier !== undefined) {
    const from = withoutVersion(referrer || file);
    return `${shown(from, folder)}${placeIn(from, specifier)}: can't find ${JSON.stringify(specifier)}`;
  }
  const frame = error instanceof Error ? frameIn(error, sources) : null;
  return `${frame === null ? shown(file, folder) : `${shown(frame.file, folder)}:${frame.line}:${frame.column}`}: ${withoutVersion(message)}`;
}

const messageOf = (error: unknown): BuildError =>
  // Bun's errors have these members; of others they are undefined.
  typeof error === "object" && error !== null && "message" in error ? (error as BuildError) : { message: String(error) };

/** Gives the innermost place of a stack that is in one of these files. */
function frameIn(error: Error, sources: Sources): { readonly file: string; readonly line: string; readonly column: string } | null {
  const files = new Set([...sources.keys()].flatMap((file) => [file, realPathOf(file)]));
  for (const line of (error.stack ?? "").split("\n")) {
    const [, path = "", row = "", column = ""] = /([^\s(]+):(\d+):(\d+)\)?$/.exec(line) ?? [];
    const file = withoutVersion(path);
    if (files.has(file)) return { file, line: row, column };
  }
  return null;
}

/** Gives the line and column at which a file imports this, as ":3:7"; "" where they are not found. */
function placeIn(file: string, specifier: string): string {
  try {
    const text = readFileSync(file, "utf8");
    const at = ['"', "'", "`"].map((quote) => text.indexOf(quote + specifier + quote)).find((found) => found >= 0);
    if (at === undefined) return "";
    const before = text.slice(0, at);
    return `:${before.split("\n").length}:${at - before.lastIndexOf("\n")}`;
  } catch {
    return "";
  }
}

const withoutVersion = (text: string): string => text.replace(/\?v=\d+/g, "");

/** Gives a path as people read it: from the configuration's folder where it is in there. */
function shown(file: string, folder: string): string {
  const path = relative(folder, file);
  return path === "" || path.startsWith("..") || isAbsolute(path) ? file : path;
}
