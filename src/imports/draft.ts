import { matchOf } from "../http/path.ts";
import { withoutEndSlash } from "../routes/path.ts";
import type { Line } from "./source.ts";

/** Is something that could not be carried over, and what to do about it. */
export interface Note extends Line {
  readonly message: string;
}

/** Is a part of a configuration as it would stand in a file. */
export type Part = Record<string, unknown>;

/** Holds a route with the place that it came from. */
export interface DraftRoute {
  readonly from: Line;
  readonly config: Part;
}

/** Gathers the configuration that an import makes, and what could not be carried over. */
export class Draft {
  readonly notes: Note[] = [];
  readonly server: Part = {};
  /** The line that says which certificates there are; `null`: none does. */
  tlsFrom: Line | null = null;
  readonly identity: Part = {};
  readonly tiers: Record<string, Part> = { anonymous: { limits: [] } };
  readonly upstreams = new Map<string, { readonly from: Line; readonly config: Part }>();
  readonly routes: DraftRoute[] = [];
  readonly consumers: { readonly from: Line; readonly config: Part }[] = [];
  private readonly told = new Set<string>();

  constructor(readonly file: string) {}

  /** Notes what could not be carried over; the same of one line once. */
  note({ file, line }: Line, message: string): void {
    const key = `${file}:${line} ${message}`;
    if (this.told.has(key)) return;
    this.told.add(key);
    this.notes.push({ file, line, message });
  }

  /** Adds an upstream under a name that is like the wanted one. Gives its name. */
  addUpstream(wanted: string, config: Part, from: Line): string {
    const same = [...this.upstreams].find(([name, known]) => name.startsWith(nameLike(wanted)) && Bun.deepEquals(known.config, config));
    if (same !== undefined) return same[0];
    const name = free(nameLike(wanted), (each) => this.upstreams.has(each));
    this.upstreams.set(name, { from, config });
    return name;
  }

  /** Adds a route, under a name of its own. */
  addRoute(config: Part, from: Line): void {
    const wanted = typeof config.name === "string" && config.name !== "" ? routeNameLike(config.name) : null;
    const names = new Set(this.routes.map((route) => route.config.name ?? route.config.path));
    const isTaken = (name: string) => names.has(name);
    const name =
      wanted === null ? (isTaken(String(config.path)) ? free(routeNameLike(String(config.path)), isTaken) : null) : free(wanted, isTaken);
    const { name: _, ...rest } = config;
    this.routes.push({ from, config: name === null ? rest : { name, ...rest } });
  }

  /** Gives the route that takes exactly this path for these hosts; `undefined`: there is none. */
  routeAt(path: string, hosts: readonly string[]): DraftRoute | undefined {
    const wanted = matched(path);
    return this.routes.find(({ config }) => matched(String(config.path)) === wanted && Bun.deepEquals(config.hosts ?? [], hosts));
  }
}

const matched = (path: string): string => withoutEndSlash(matchOf(path));

const free = (wanted: string, isTaken: (name: string) => boolean): string => {
  if (!isTaken(wanted)) return wanted;
  for (let i = 2; ; i++) if (!isTaken(`${wanted}-${i}`)) return `${wanted}-${i}`;
};

/** Gives a name for an upstream, a consumer or a tier that is like a text. */
export function nameLike(text: string): string {
  const name = text
    .replace(/[^A-Za-z0-9._@-]+/g, "-")
    .replace(/^[^A-Za-z0-9]+|-+$/g, "")
    .slice(0, 100);
  return name === "" ? "imported" : name;
}

function routeNameLike(text: string): string {
  const name = text
    .replace(/[^A-Za-z0-9._@:/-]+/g, "-")
    .replace(/^[^A-Za-z0-9]+|-+$/g, "")
    .slice(0, 100);
  return name === "" ? "route" : name;
}

/** Writes milliseconds as a duration. */
export function durationOf(milliseconds: number): string {
  if (milliseconds % 3_600_000 === 0 && milliseconds > 0) return `${milliseconds / 3_600_000}h`;
  if (milliseconds % 60_000 === 0 && milliseconds > 0) return `${milliseconds / 60_000}m`;
  return milliseconds % 1000 === 0 ? `${milliseconds / 1000}s` : `${Math.max(1, Math.round(milliseconds))}ms`;
}

/** Gives the part of a path that stands before anything that is a pattern in it, at a segment's border; "/" where that is all. */
export function staticPrefix(path: string): string {
  const at = path.search(/[*{}()[\]\\^$|?+#;:]|\.\*/);
  const before = at < 0 ? path : path.slice(0, path.slice(0, at).lastIndexOf("/") + 1);
  return withoutEndSlash(before.replace(/\/+/g, "/")) || "/";
}
