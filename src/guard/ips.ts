import { type Static, Type } from "@sinclair/typebox";
import type { Fault, Path } from "../schema/faults.ts";
import { Shape } from "../schema/fields.ts";
import { cidrFaults } from "../schema/rules.ts";
import { CidrSet } from "../values/ip.ts";

const Addresses = (description: string) => Type.Array(Type.String({ maxLength: 64 }), { default: [], maxItems: 1024, description });

export const IpsConfig = Shape(
  {
    allow: Addresses("Addresses and blocks (CIDR) that may use the route; none means all that deny does not name."),
    deny: Addresses("Addresses and blocks (CIDR) that may not, also where allow names them."),
  },
  "By the caller's address: the peer's, or the one that server.trustedProxies name.",
);
export type IpsConfig = Static<typeof IpsConfig>;

/** Gives the faults of a route's addresses that the schema can't express. Their paths begin with `at`. */
export const ipsFaults = ({ allow, deny }: IpsConfig, at: Path): Fault[] => [
  ...cidrFaults(allow, [...at, "allow"]),
  ...cidrFaults(deny, [...at, "deny"]),
];

/** Warns of addresses that do nothing, above all of those who think that the first rule that fits decides. */
export function ipsWarnings({ allow, deny }: IpsConfig, at: Path): Fault[] {
  if (allow.length === 0 && deny.length === 0)
    return [{ path: [...at], message: "names no address, so that all may use the route: fill allow or deny, or leave it out" }];
  const denied = new CidrSet(deny);
  return allow.flatMap((entry, i): Fault[] =>
    denied.covers(entry)
      ? [
          {
            path: [...at, "allow", i],
            message: "lets nobody in: deny names all of it and comes first; what allow does not name is refused without deny",
          },
        ]
      : [],
  );
}

/** Decides by addresses who may use a route. */
export class RouteIps {
  private readonly allow: CidrSet | null;
  private readonly deny: CidrSet;

  /** Takes lists without faults. */
  constructor({ allow, deny }: IpsConfig) {
    this.allow = allow.length === 0 ? null : new CidrSet(allow);
    this.deny = new CidrSet(deny);
  }

  /** Gives the list that keeps an address out; `null`: neither does. */
  keptOutBy(ip: string): "allow" | "deny" | null {
    if (this.deny.has(ip)) return "deny";
    return this.allow === null || this.allow.has(ip) ? null : "allow";
  }
}

/** Compiles a route's addresses; `null`: the route takes requests from everywhere. */
export const compileIps = (config: IpsConfig | null): RouteIps | null =>
  config === null || (config.allow.length === 0 && config.deny.length === 0) ? null : new RouteIps(config);
