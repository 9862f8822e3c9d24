import { loadConfig } from "../config/load.ts";
import type { Config } from "../config/schema.ts";
import { examineFiles } from "../edge/files.ts";
import type { Fault, Path } from "../schema/faults.ts";
import { formatPath } from "../schema/faults.ts";
import { isObject } from "../values/json.ts";
import type { Draft, Note, Part } from "./draft.ts";
import type { Line } from "./source.ts";

/** Holds a configuration that holds, and what could not be carried over. */
export interface Finished {
  readonly config: Part;
  readonly notes: readonly Note[];
  /** The variables that it takes from the environment. */
  readonly variables: readonly string[];
}

/** The times that parts with faults are taken out until none is left: taking one out can make another one's. */
const MAX_PASSES = 100;

/**
 * Makes a configuration of a draft. What `sluice check` would refuse is taken out, as little of it as possible, and told of: other programs
 * allow what Sluice does not.
 */
export function finished(draft: Draft): Finished {
  for (let pass = 0; pass < MAX_PASSES; pass++) {
    const config = assembled(draft);
    const text = JSON.stringify(config);
    const variables = [...new Set([...text.matchAll(/(?<!\$)\$\{([A-Za-z_]\w*)\}/g)].map(([, name]) => name as string))];
    // Each has another value, as keys must.
    const loaded = loadConfig(text, Object.fromEntries(variables.map((name, i) => [name, `from-the-environment-${i}`])));
    if (!("faults" in loaded) && !dropTls(draft, loaded.config)) return { config, variables, notes: [...draft.notes].sort(byLine) };
    // From the last one on, so that the positions before it stay right.
    if ("faults" in loaded) for (const fault of loaded.faults.toSorted((a, b) => comparePaths(b.path, a.path))) takeOut(draft, fault);
  }
  draft.note({ file: draft.file, line: 1 }, "nothing is carried over: what comes of the file has faults that can't be taken out");
  return { config: {}, variables: [], notes: [...draft.notes].sort(byLine) };
}

/** Takes out certificates that can't be served with. Tells whether there were any. */
function dropTls(draft: Draft, { server: { tls } }: Config): boolean {
  const [fault] = examineFiles(tls, Date.now()).faults;
  if (fault === undefined) return false;
  delete draft.server.tls;
  draft.note(draft.tlsFrom ?? { file: draft.file, line: 1 }, `server.tls is left out, ${formatPath(fault.path)}: ${fault.message}`);
  return true;
}

const byLine = (a: Note, b: Note): number => (a.file === b.file ? a.line - b.line : a.file < b.file ? -1 : 1);

function comparePaths(a: Path, b: Path): number {
  for (const [i, step] of a.entries()) {
    const other = b[i];
    if (other === undefined) return 1;
    if (typeof step === "number" && typeof other === "number" && step !== other) return step - other;
  }
  return a.length - b.length;
}

function assembled({ server, identity, tiers, upstreams, routes, consumers }: Draft): Part {
  const config = {
    ...(Object.keys(server).length === 0 ? {} : { server }),
    ...(Object.keys(identity).length === 0 ? {} : { identity }),
    tiers,
    upstreams: Object.fromEntries([...upstreams].map(([name, each]) => [name, each.config])),
    routes: routes.map((route) => route.config),
    ...(consumers.length === 0 ? {} : { consumers: consumers.map((each) => each.config) }),
  };
  return inOurWords(config) as Part;
}

/** Takes `${{ env "NAME" }}` for Sluice's variables, and any other `${` for itself. */
function inOurWords(value: unknown): unknown {
  if (typeof value === "string")
    return value.replace(/\$\{\{\s*env\s+["']?([A-Za-z_]\w*)["']?\s*\}\}|\$\{/g, (_, name: string | undefined) =>
      name === undefined ? "$${" : `\${${name}}`,
    );
  if (Array.isArray(value)) return value.map(inOurWords);
  if (!isObject(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([name, child]) => [name, inOurWords(child)]));
}

/** The fields without which a route is none, or one for more requests than are meant. */
const VITAL: readonly unknown[] = ["path", "upstream", "respond", "hosts", "methods", undefined];

/** Takes out what has a fault: a field that can be missing, else the whole that it belongs to. */
function takeOut(draft: Draft, { path, message }: Fault): void {
  const [section, at, field, position] = path;
  const told = (from: Line, what: string) => draft.note(from, `${what}: ${message}`);
  if (section === "routes" && typeof at === "number") {
    const route = draft.routes[at];
    if (route === undefined) return;
    const name = String(route.config.name ?? route.config.path);
    if (VITAL.includes(field)) {
      draft.routes.splice(at, 1);
      told(route.from, `the route ${name} is left out, ${formatPath(path.slice(2)) || "all of it"}`);
    } else {
      delete route.config[String(field)];
      // Whom it kept out should not come in because it is not there.
      const isGuard = field === "ips";
      if (isGuard) route.config.auth = "required";
      told(
        route.from,
        `${formatPath(path.slice(2))} of the route ${name} is left out${isGuard ? ', which asks for a key ("auth": "required")' : ""}`,
      );
    }
    return;
  }
  if (section === "consumers" && typeof at === "number") {
    const consumer = draft.consumers[at];
    if (consumer === undefined) return;
    const { keys } = consumer.config;
    if (field === "keys" && typeof position === "number" && Array.isArray(keys)) {
      keys.splice(position, 1);
      told(consumer.from, `a key of the consumer ${consumer.config.id} is left out`);
    } else {
      draft.consumers.splice(at, 1);
      told(consumer.from, `the consumer ${consumer.config.id} is left out, ${formatPath(path.slice(2))}`);
    }
    return;
  }
  if (section === "upstreams" && typeof at === "string") {
    const upstream = draft.upstreams.get(at);
    if (upstream === undefined) return;
    if (field !== undefined && field !== "targets") delete upstream.config[String(field)];
    else draft.upstreams.delete(at);
    told(
      upstream.from,
      `${field === undefined || field === "targets" ? "" : `${formatPath(path.slice(2))} of `}the upstream ${at} is left out`,
    );
    return;
  }
  const parts: Readonly<Record<string, Part>> = { server: draft.server, identity: draft.identity, tiers: draft.tiers };
  const part = typeof section === "string" ? parts[section] : undefined;
  if (part === undefined || at === undefined || !Object.hasOwn(part, at)) return;
  delete part[String(at)];
  told({ file: draft.file, line: 1 }, `${formatPath(path)} is left out`);
}
