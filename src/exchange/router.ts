import { matchOf } from "../http/path.ts";
import { hostName } from "../values/host-name.ts";

/** Describes what the router must know of a route. */
export interface Routable {
  readonly path: string;
  /** Host names in lower case; `*.example.com` takes every name below it. Empty: any. */
  readonly hosts: readonly string[];
  /** The methods that it takes. Empty: all. */
  readonly methods: readonly string[];
}

/** Describes a route that comes before all others, for each of its paths. */
export interface Own<R> {
  readonly route: R;
  readonly path: string;
  /** True when the route takes everything below the path as well. */
  readonly takesBelow: boolean;
}

/** Says why no route was found: no path matched, or one did but not for this method. */
export type Miss = { readonly allow: readonly string[] | null };

/** Holds the routes with one path prefix, by method. */
interface Place<R> {
  readonly routes: R[];
}

/**
 * Finds a request's route: first by host (an exact name, then the longest wildcard, then any), then by the longest path prefix that ends at
 * a segment border. It is built when the configuration changes; a look-up costs one map access a path segment. The paths that Sluice
 * answers by itself come before routes, by the path as it is forwarded.
 */
export class Router<R extends Routable> {
  private readonly exact = new Map<string, PathTable<R>>();
  private readonly wildcard = new Map<string, PathTable<R>>();
  private readonly any = new PathTable<R>();
  /** Sluice's own, by the character behind the first slash: nearly every request is for none of them, and learns it by one look. */
  private readonly own: (readonly Own<R>[] | undefined)[] = Array.from({ length: LETTERS });

  constructor(routes: Iterable<R>, own: Iterable<Own<R>> = []) {
    for (const each of own) {
      // A path that is empty takes everything.
      const letters = each.path === "" ? this.own.keys() : [letterOf(each.path)];
      for (const letter of letters) this.own[letter] = [...(this.own[letter] ?? []), each];
    }
    for (const route of routes) {
      if (route.hosts.length === 0) this.any.add(route);
      for (const host of route.hosts) {
        const isWildcard = host.startsWith("*.");
        const tables = isWildcard ? this.wildcard : this.exact;
        const key = isWildcard ? host.slice(1) : host;
        let table = tables.get(key);
        if (table === undefined) {
          table = new PathTable();
          tables.set(key, table);
        }
        table.add(route);
      }
    }
  }

  /** Gives the route of Sluice's own at this path, as it would be forwarded; `null`: the path is a route's, if any. */
  findOwn(method: string, path: string): R | null {
    const here = this.own[letterOf(path)];
    if (here === undefined) return null;
    for (const { path: own, takesBelow, route } of here) {
      const isMeant = path === own || (takesBelow && path.startsWith(own) && path.charCodeAt(own.length) === SLASH);
      if (isMeant && takes(route, method)) return route;
    }
    return null;
  }

  /** Finds a route, or says why there is none. `host` as in the Host field, `path` as routes are matched by it (see `matchOf`). */
  find(host: string, method: string, path: string): R | Miss {
    const place = this.place(host, path);
    if (place === undefined) return NOT_FOUND;
    for (const route of place.routes) if (takes(route, method)) return route;
    return { allow: [...new Set(place.routes.flatMap(allowed))].sort() };
  }

  private place(host: string, path: string): Place<R> | undefined {
    if (this.exact.size > 0 || this.wildcard.size > 0) {
      const name = hostName(host);
      const exact = this.exact.get(name)?.find(path);
      if (exact !== undefined) return exact;
      for (let dot = name.indexOf("."); dot >= 0; dot = name.indexOf(".", dot + 1)) {
        const found = this.wildcard.get(name.slice(dot))?.find(path);
        if (found !== undefined) return found;
      }
    }
    return this.any.find(path);
  }
}

const NOT_FOUND: Miss = { allow: null };

const SLASH = 47;
const LETTERS = 128;
/** Gives the character behind the first slash of a path, as a place in a list; 0 for the root. */
const letterOf = (path: string): number => (path.length < 2 ? 0 : path.charCodeAt(1) % LETTERS);

export const isMiss = (found: object): found is Miss => "allow" in found;

class PathTable<R extends Routable> {
  private readonly places = new Map<string, Place<R>>();
  /** The segments of the longest prefix: there is nothing to be found further down. */
  private depth = 0;

  add(route: R): void {
    const prefix = matchOf(prefixOf(route.path));
    this.depth = Math.max(this.depth, depthOf(prefix));
    const place = this.places.get(prefix);
    if (place === undefined) this.places.set(prefix, { routes: [route] });
    else place.routes.push(route);
  }

  find(path: string): Place<R> | undefined {
    let end = 0;
    for (let i = 0; i < this.depth && end < path.length; i++) {
      end = path.indexOf("/", end + 1);
      if (end < 0) end = path.length;
    }
    let prefix = end === path.length ? path : path.slice(0, end);
    while (prefix.length > 0) {
      const place = this.places.get(prefix);
      if (place !== undefined) return place;
      prefix = prefix.slice(0, prefix.lastIndexOf("/"));
    }
    return this.places.get("");
  }
}

/** Gives a route's path as a prefix of segments: without a slash at the end, so "" for the root. */
export const prefixOf = (path: string): string => (path.endsWith("/") ? path.slice(0, -1) : path);

/** Gives the number of segments of a prefix. */
export const depthOf = (prefix: string): number => prefix.split("/").length - 1;

function takes(route: Routable, method: string): boolean {
  const { methods } = route;
  return methods.length === 0 || methods.includes(method) || (method === "HEAD" && methods.includes("GET"));
}

const allowed = (route: Routable): readonly string[] => (route.methods.includes("GET") ? [...route.methods, "HEAD"] : route.methods);
