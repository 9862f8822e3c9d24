import { type Static, Type } from "@sinclair/typebox";
import type { IssuerConfig } from "../issuers/settings.ts";
import type { RouteConfig } from "../routes/settings.ts";
import type { Fault, Path } from "../schema/faults.ts";
import { Nullable, Scope, Shape } from "../schema/fields.ts";
import { isLoopbackHost } from "../values/ip.ts";
import { matchesName, NAME_PATTERN, NamePatterns } from "../values/name-patterns.ts";

const TOOL = "a tool's name, or a pattern in which * stands for any characters";

const Tools = (description: string, examples: readonly string[][]) =>
  Type.Array(Type.String({ pattern: NAME_PATTERN, expects: TOOL }), { default: [], maxItems: 512, description, examples });

export const McpConfig = Shape(
  {
    tools: Shape(
      {
        include: Tools("The tools that may be called, by name or pattern. Empty: all. Prefer it to exclude: it lets no new tool through.", [
          ["get_*", "search"],
        ]),
        exclude: Tools("The tools that may not be called, whatever include says.", [["*_delete"]]),
      },
      "Which of the server's tools callers see and may call.",
      { default: {} },
    ),
    scopes: Type.Record(Type.String({ pattern: NAME_PATTERN }), Type.Array(Scope, { minItems: 1, maxItems: 64 }), {
      additionalProperties: false,
      default: {},
      maxProperties: 256,
      names: TOOL,
      description: "Scopes that callers need for tools, by name or pattern: those of every pattern that a tool matches.",
      examples: [{ "write_*": ["mcp:write"] }],
    }),
    cost: Type.Record(Type.String({ pattern: NAME_PATTERN }), Type.Integer({ minimum: 0, maximum: 1e9 }), {
      additionalProperties: false,
      default: {},
      maxProperties: 256,
      names: TOOL,
      description:
        "What a call takes from each limit, by tool: by its name, else by the longest pattern. Other calls and messages take the route's cost.",
      examples: [{ search: 5 }],
    }),
    resource: Type.Union([Type.String({ minLength: 1, maxLength: 2048 }), Type.Null()], {
      default: null,
      description:
        "The URL by which clients know the server: with it, they find the issuers by themselves (RFC 9728) and ask them for tokens for it. It must be in the issuers' audience. null: nothing is published.",
      expects: "a URL, or null",
      examples: ["https://api.example.com/mcp"],
    }),
  },
  "A server of the Model Context Protocol.",
);
export type McpConfig = Static<typeof McpConfig>;

/** The schema of a route's field. */
export const McpField = Nullable(
  McpConfig,
  "Says that the route's upstream is a server of the Model Context Protocol (MCP): Sluice then reads which tool a message calls, and decides, counts and lists by it. Messages of at most 16 MB are read. null: it is none.",
);

/** Gives the faults of a route's `mcp` that the schema can't express. Paths begin with `at`. */
export function mcpFaults(mcp: McpConfig, { methods, auth, cache, websocket, models }: RouteConfig, at: Path): Fault[] {
  const faults: Fault[] = [];
  const say = (field: keyof RouteConfig, message: string) => faults.push({ path: [...at, field], message });
  if (methods.length > 0 && !methods.includes("POST")) say("methods", "must have POST: clients of mcp send their messages by it");
  if (cache !== null) say("cache", "means nothing beside mcp: calls of tools are not kept");
  if (models.length > 0) say("models", "means nothing beside mcp, whose messages name tools and no model: say which by mcp.tools");
  if (websocket !== null) say("websocket", "means nothing beside mcp, whose messages come by POST alone");
  if (auth === "none" && Object.keys(mcp.scopes).length > 0)
    faults.push({ path: [...at, "mcp", "scopes"], message: 'need a key or a token, and the route\'s auth is "none"' });
  const wrong = mcp.resource === null ? null : resourceFault(mcp.resource);
  if (wrong !== null) faults.push({ path: [...at, "mcp", "resource"], message: wrong });
  return faults;
}

function resourceFault(text: string): string | null {
  if (!URL.canParse(text)) return 'must be a URL such as "https://api.example.com/mcp"';
  const { protocol, hostname, username, password, hash, search } = new URL(text);
  if (username !== "" || password !== "" || hash !== "" || search !== "") return "must hold no user, no query and no fragment";
  if (protocol === "https:" || (protocol === "http:" && isLoopbackHost(hostname.replace(/^\[|\]$/g, "")))) return null;
  return "must begin with https://, and with http:// on this machine alone";
}

/** Gives what is valid and hardly meant of a route's `mcp`. Paths begin with `at`. */
export function mcpWarnings(
  mcp: McpConfig,
  route: Pick<RouteConfig, "auth" | "path" | "hosts" | "issuers">,
  issuers: Readonly<Record<string, IssuerConfig>>,
  at: Path,
): Fault[] {
  const { include, exclude } = mcp.tools;
  const warnings: Fault[] = [];
  const say = (path: Path, message: string) => warnings.push({ path: [...at, ...path], message });
  const included = new NamePatterns(include);
  const excluded = new NamePatterns(exclude);
  for (const [i, each] of include.entries())
    if (excluded.covers(each)) say(["tools", "include", i], "is excluded: no caller sees or may call it");
  for (const field of ["scopes", "cost"] as const)
    for (const name of Object.keys(mcp[field])) {
      const isLeftOut = excluded.covers(name) || (include.length > 0 && !name.includes("*") && !included.has(name));
      if (isLeftOut) say([field, name], "is of a tool that nobody may call, by tools");
    }
  const wide = Object.keys(mcp.cost).filter((name) => name.includes("*"));
  for (const name of wide) {
    const longer = wide.find((other) => other !== name && other.length > name.length && matchesName(other, name));
    if (longer !== undefined) say(["cost", name], `never counts: the longer ${JSON.stringify(longer)} takes the same tools`);
  }
  return [...warnings, ...resourceWarnings(mcp, route, issuers, [...at, "resource"])];
}

/** Warns of what keeps clients from getting tokens by themselves. */
function resourceWarnings(
  { resource }: McpConfig,
  { auth, path, hosts, issuers: named }: Pick<RouteConfig, "auth" | "path" | "hosts" | "issuers">,
  issuers: Readonly<Record<string, IssuerConfig>>,
  at: Path,
): Fault[] {
  const meant = Object.entries(issuers).filter(([name]) => named.length === 0 || named.includes(name));
  const warn = (message: string): Fault => ({ path: at, message });
  if (auth === "none") return resource === null ? [] : [warn('is not published: the route\'s auth is "none"')];
  if (resource === null)
    return meant.length === 0
      ? []
      : [warn("is missing, so that clients can't find the issuers by themselves: say the URL by which they know the server")];
  if (meant.length === 0) return [warn("is not published: there is no issuer whose tokens the route takes")];
  if (!URL.canParse(resource)) return [];
  const warnings: Fault[] = meant
    .filter(({ 1: { audience } }) => audience.length > 0 && !audience.includes(resource))
    .map(([name]) => warn(`is not in the audience of the issuer ${JSON.stringify(name)}: tokens that clients get for it are refused`));
  const { pathname, hostname } = new URL(resource);
  if (!withoutEnd(pathname).endsWith(withoutEnd(path))) warnings.push(warn(`does not end in ${path}, which the route takes`));
  if (hosts.length > 0 && !hosts.some((host) => isHost(host.toLowerCase(), hostname)))
    warnings.push(warn(`is at another host than the route's: ${hosts.join(", ")}`));
  return warnings;
}

const isHost = (host: string, name: string): boolean => (host.startsWith("*.") ? name.endsWith(host.slice(1)) : host === name);

const withoutEnd = (path: string): string => path.replace(/\/$/, "");
