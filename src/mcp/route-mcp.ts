import type { Caller } from "../exchange/caller.ts";
import { OTHER } from "../values/called-name.ts";
import { matchesName, NamePatterns, namesOf } from "../values/name-patterns.ts";
import { type ProtectedResource, protectedResource } from "./resource.ts";
import type { McpConfig } from "./settings.ts";

/** What becomes of calls: the server answers (whether its tool fails or not), it does not, or limits or Sluice's rules refuse them. */
export const CALL_OUTCOMES = ["answered", "failed", "limited", "refused"] as const;
export type CallOutcome = (typeof CALL_OUTCOMES)[number];

/** Knows the tools of a route's server, compiled once: who may call which, and what they cost. */
export class RouteMcp {
  /** The tools that the configuration names, without patterns: those that metrics tell apart. */
  readonly names: readonly string[];
  private readonly named: ReadonlySet<string>;
  private readonly included: NamePatterns | null;
  private readonly excluded: NamePatterns;
  private readonly scopes: readonly (readonly [pattern: string, scopes: readonly string[]])[];
  private readonly exactCosts: ReadonlyMap<string, number>;
  /** By pattern, the longest first. */
  private readonly costs: readonly (readonly [pattern: string, cost: number])[];

  /** `resource`: what clients are told of how to get a token; `null`: nothing. */
  constructor(
    { tools, scopes, cost }: Pick<McpConfig, "tools" | "scopes" | "cost">,
    readonly resource: ProtectedResource | null,
  ) {
    this.included = namesOf(tools.include);
    this.excluded = new NamePatterns(tools.exclude);
    this.scopes = Object.entries(scopes);
    const isPattern = ([name]: readonly [string, unknown]) => name.includes("*");
    const costs = Object.entries(cost);
    this.exactCosts = new Map(costs.filter((each) => !isPattern(each)));
    this.costs = costs.filter(isPattern).sort(([a], [b]) => b.length - a.length);
    this.named = new Set(namedTools({ tools, scopes, cost }));
    this.names = [...this.named];
  }

  /** True when there are tools that some callers may not call: then lists of them are read. */
  get isRestricted(): boolean {
    return this.included !== null || this.excluded.list.length > 0 || this.isByCaller;
  }

  /** True when callers may call different tools. */
  get isByCaller(): boolean {
    return this.scopes.length > 0;
  }

  /** Tells whether the route lets a tool be called at all. */
  lets(tool: string): boolean {
    return !this.excluded.has(tool) && (this.included === null || this.included.has(tool));
  }

  /** Gives the scopes that a tool needs, each once. */
  scopesFor(tool: string): readonly string[] {
    if (this.scopes.length === 0) return NONE;
    return [...new Set(this.scopes.flatMap(([pattern, scopes]) => (matchesName(pattern, tool) ? scopes : NONE)))];
  }

  /** Tells whether a caller may call a tool. */
  mayCall(caller: Caller, tool: string): boolean {
    return this.lets(tool) && this.scopesFor(tool).every((scope) => caller.scopes.includes(scope));
  }

  /** Gives what a call takes from each limit; `null`: the route's cost. */
  costOf(tool: string): number | null {
    return this.exactCosts.get(tool) ?? this.costs.find(([pattern]) => matchesName(pattern, tool))?.[1] ?? null;
  }

  /** Gives the name by which metrics tell a tool: what callers make up has one name. */
  labelOf(tool: string): string {
    return this.named.has(tool) ? tool : OTHER;
  }
}

const NONE: readonly string[] = [];

/** Gives the tools that a configuration names, without patterns. */
const namedTools = ({ tools, scopes, cost }: Pick<McpConfig, "tools" | "scopes" | "cost">): string[] =>
  [...tools.include, ...Object.keys(scopes), ...Object.keys(cost)].filter((name) => !name.includes("*"));

/** Says what a route's tools are compiled with. */
export interface McpMaterial {
  readonly name: string;
  /** The scopes that every caller of the route needs. */
  readonly scopes: readonly string[];
  /** The issuers whose tokens the route takes, as they call themselves. */
  readonly issuers: readonly string[];
}

/** Compiles a route's tools; `null`: its upstream is no server of the Model Context Protocol. */
export function compileMcp(config: McpConfig | null, { name, scopes, issuers }: McpMaterial): RouteMcp | null {
  if (config === null) return null;
  const toolScopes = Object.values(config.scopes).flat();
  return new RouteMcp(config, protectedResource({ resource: config.resource, name, scopes, toolScopes, issuers }));
}
