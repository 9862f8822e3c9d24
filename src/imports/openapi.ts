import { Draft, nameLike, staticPrefix } from "./draft.ts";
import { documentOf, type Place, Unreadable } from "./source.ts";

/** More routes than a person wants to read: beyond it one route takes all paths. */
const MAX_ROUTES = 40;

const METHODS = ["get", "post", "put", "patch", "delete", "head", "options"];

/** Where an address is missing, it is this one. */
const PLACEHOLDER = "http://127.0.0.1:8001";

/** Holds the paths that become one route. */
interface Group {
  readonly from: Place;
  readonly methods: Set<string>;
  /** Whether operations ask for a credential. */
  readonly secured: Set<boolean>;
  /** True when any method may be meant: the path's operations stand elsewhere. */
  takesAll: boolean;
  /** The first path that holds a parameter. */
  pattern: { readonly path: string; readonly from: Place } | null;
  paths: number;
}

/** Reads an OpenAPI document, version 2 or 3, in JSON or YAML. Throws `Unreadable`. */
export function fromOpenApi(file: string, text: string): Draft {
  const root = documentOf(file, text);
  const version = root.at("openapi").text ?? root.at("swagger").text;
  if (version === null || !/^[23]\b/.test(version))
    throw new Unreadable(file, 1, "is no OpenAPI document: it has neither openapi (3.0, 3.1) nor swagger (2.0)");
  const draft = new Draft(file);
  const title = root.at("info", "title").text ?? "api";
  const upstream = draft.addUpstream(nameLike(title.toLowerCase()), { targets: [{ url: serverOf(root, draft) }] }, root);
  const groups = grouped(root, draft);
  for (const [path, { from, methods, secured, takesAll, pattern, paths }] of groups) {
    const auth = !secured.has(true) ? "none" : secured.has(false) ? "optional" : "required";
    if (auth === "optional")
      draft.note(
        from,
        `some of what is below ${path} needs a credential and some does not: the route takes both; divide it if that is not meant`,
      );
    if (pattern !== null)
      draft.note(
        pattern.from,
        `${pattern.path}: a route's path is a prefix, so that ${path} takes this and everything below it${paths > 1 ? `, as for ${paths} paths in all` : ""}`,
      );
    const listed = METHODS.map((method) => method.toUpperCase()).filter((method) => methods.has(method));
    draft.addRoute({ path, ...(takesAll || listed.length === 0 ? {} : { methods: listed }), upstream, stripPrefix: false, auth }, from);
  }
  if (groups.size === 0) draft.note(root.at("paths"), "the document has no paths: there is no route");
  schemes(root, draft);
  return draft;
}

/** Gives the address of the API, with its base path. */
function serverOf(root: Place, draft: Draft): string {
  if (root.at("swagger").isThere) {
    const host = root.at("host").text;
    const schemesOf = root.at("schemes").texts;
    const base = (root.at("basePath").text ?? "").replace(/\/+$/, "");
    if (host !== null)
      return usable(`${schemesOf.includes("https") || schemesOf.length === 0 ? "https" : "http"}://${host}${base}`, root.at("host"), draft);
    draft.note(root, `the document names no host: put your backend's address in the place of ${PLACEHOLDER}`);
    return usable(`${PLACEHOLDER}${base}`, root, draft);
  }
  const [first, ...others] = root.at("servers").items;
  if (first === undefined) {
    draft.note(root, `the document names no server: put your backend's address in the place of ${PLACEHOLDER}`);
    return PLACEHOLDER;
  }
  for (const other of others)
    draft.note(
      other,
      `the server ${other.at("url").text} is left out: add it to the upstream's targets if it serves the same as the first one`,
    );
  let url = first.at("url").text ?? "/";
  for (const [name, variable] of first.at("variables").fields) url = url.replaceAll(`{${name}}`, () => variable.at("default").text ?? "");
  if (/\{/.test(first.at("url").text ?? "")) draft.note(first, `the server's address has variables: their defaults make ${url}`);
  if (/^https?:\/\//i.test(url)) return usable(url, first, draft);
  draft.note(first, `the server ${url} has no host: put your backend's address in the place of ${PLACEHOLDER}`);
  return usable(`${PLACEHOLDER}/${url.replace(/^\/+/, "")}`, first, draft);
}

function usable(url: string, from: Place, draft: Draft): string {
  const parsed = URL.parse(url);
  if (parsed !== null && /^https?:$/.test(parsed.protocol)) return `${parsed.origin}${parsed.pathname.replace(/\/+$/, "")}`;
  draft.note(from, `${url} is no address: put your backend's in the place of ${PLACEHOLDER}`);
  return PLACEHOLDER;
}

/** Groups paths by what they have in common and one segment more, so that there are few routes. */
function grouped(root: Place, draft: Draft): Map<string, Group> {
  const paths = root.at("paths").fields.filter(([path]) => path.startsWith("/"));
  const prefixes = paths.map(([path]) => staticPrefix(path.split(/[?#]/, 1)[0] ?? "/"));
  const common = inCommon(prefixes);
  let groups = groupsAt(paths, prefixes, common, 1, root, draft);
  if (groups.size > MAX_ROUTES) {
    draft.note(root.at("paths"), `the paths begin in ${groups.size} ways: one route takes them all; divide it where rules differ`);
    groups = groupsAt(paths, prefixes, common, 0, root, draft);
  }
  return groups;
}

function groupsAt(
  paths: readonly (readonly [path: string, place: Place])[],
  prefixes: readonly string[],
  common: readonly string[],
  more: number,
  root: Place,
  draft: Draft,
): Map<string, Group> {
  const groups = new Map<string, Group>();
  for (const [i, [path, place]] of paths.entries()) {
    const segments = segmentsOf(prefixes[i] ?? "/").slice(0, common.length + more);
    const key = `/${segments.join("/")}`;
    let group = groups.get(key);
    if (group === undefined) {
      group = { from: place, methods: new Set(), secured: new Set(), takesAll: false, pattern: null, paths: 0 };
      groups.set(key, group);
    }
    group.paths++;
    if (path.includes("{")) group.pattern ??= { path, from: place };
    addOperations(group, place, root, draft);
  }
  return groups;
}

/** Tells whether an operation asks for a credential: by what it says itself, else by what the document says for all. */
function asksFor(operation: Place, root: Place): boolean {
  const security = operation.at("security").isThere ? operation.at("security") : root.at("security");
  const ways = security.items;
  return ways.length > 0 && ways.every((way) => way.fields.length > 0);
}

function addOperations(group: Group, place: Place, root: Place, draft: Draft): void {
  if (place.at("$ref").isThere) {
    draft.note(place, "the path's operations stand in another file: its route takes all methods");
    group.takesAll = true;
    group.secured.add(asksFor(place, root));
  }
  for (const [name, operation] of place.fields) {
    if (name === "trace") draft.note(operation, "TRACE is never taken");
    if (!METHODS.includes(name)) continue;
    group.methods.add(name.toUpperCase());
    group.secured.add(asksFor(operation, root));
  }
}

const segmentsOf = (path: string): string[] => path.split("/").filter((segment) => segment !== "");

function inCommon(prefixes: readonly string[]): readonly string[] {
  const [first = "", ...others] = prefixes;
  let common = segmentsOf(first);
  for (const other of others) {
    const segments = segmentsOf(other);
    const end = common.findIndex((segment, i) => segments[i] !== segment);
    if (end >= 0) common = common.slice(0, end);
  }
  // One path by itself has all in common with itself.
  return others.length === 0 ? common.slice(0, 1) : common;
}

/** Notes what a document says about credentials, and what to do about it. */
function schemes(root: Place, draft: Draft): void {
  const all = [...root.at("components", "securitySchemes").fields, ...root.at("securityDefinitions").fields];
  for (const [name, scheme] of all) {
    const [type, place] = [scheme.at("type").text, scheme.at("in").text];
    const field = scheme.at("name").text;
    const say = (message: string) => draft.note(scheme, `the security scheme ${name}: ${message}`);
    const own =
      'Sluice asks for keys of its own (sluice keys create) and does not forward them; with "auth": "none" the backend asks as before';
    if (type === "apiKey" && place === "header" && field !== null && draft.identity.header === undefined) {
      if (field.toLowerCase() !== "authorization") draft.identity.header = field;
      say(`callers send keys in ${field}. ${own}`);
    } else if (type === "apiKey" && place === "query" && field !== null && draft.identity.query === undefined) {
      draft.identity.query = field;
      say(`callers send keys in the parameter ${field}. ${own}`);
    } else if (type === "apiKey")
      say(
        place === "cookie"
          ? "keys are not looked for in cookies: ask a service of yours by the route's authorize"
          : "keys are looked for in one header and one parameter",
      );
    else if (type === "basic" || (type === "http" && /^basic$/i.test(scheme.at("scheme").text ?? "")))
      say('a key may stand in a password: set "identity": { "basic": true }');
    else if (type === "http") say(`keys are taken from Authorization: Bearer, and tokens from issuers. ${own}`);
    else if (type === "oauth2" || type === "openIdConnect")
      say("tokens are taken from issuers: declare yours in issuers, with its audience");
    else if (type === "mutualTLS") say("set server.tls.clientCertificates");
    else say("it has no counterpart");
  }
}
