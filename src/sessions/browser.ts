import type { Arrival } from "../exchange/exchange.ts";
import { LOOPBACK_HOST } from "../http/local.ts";
import type { Problem } from "../http/problem.ts";
import type { CidrSet } from "../values/ip.ts";
import { type ConsoleSettings, consoleRefusal } from "./gate.ts";

/** Tells how a request has come, for whatever a browser does by itself: showing cookies, and saying which page it is of. */
export interface Browser {
  /** The addresses by which the client may know the gateway, as the Origin field has them; the first is the most likely. */
  readonly origins: readonly string[];
  /** True when the client speaks https, with the gateway or with a trusted proxy before it. */
  readonly isSecure: boolean;
  /** True when the client has named this machine itself, as in `localhost:8080`. */
  readonly isLoopbackHost: boolean;
  /** Says why no cookie of the console is taken; `null`: it is. */
  readonly refusal: Problem | null;
}

/** Gives how a request has come. `trusted`: the proxies whose word about their callers is believed. */
export function browserOf(
  { head, isTls, ip, hasProxyLine }: Pick<Arrival, "head" | "isTls" | "ip" | "hasProxyLine">,
  trusted: CidrSet,
  settings: ConsoleSettings,
): Browser {
  const isOfProxy = trusted.has(ip);
  const toldScheme = isOfProxy ? firstOf(head.fields.joined("x-forwarded-proto")) : null;
  const isSecure = toldScheme === null ? isTls : toldScheme === "https";
  const hosts = [isOfProxy ? firstOf(head.fields.joined("x-forwarded-host")) : null, head.host];
  return {
    origins: hosts.flatMap((host) => originOf(isSecure, host)),
    isSecure,
    isLoopbackHost: LOOPBACK_HOST.test(head.host),
    refusal: consoleRefusal(settings, { head, ip, hasProxyLine }),
  };
}

/** Tells whether a request is of a page of our own. One of somebody else can neither name our origin nor send the header. */
export function isOfOwnPage(fields: { get(name: string): string | null }, browser: Pick<Browser, "origins"> | null): boolean {
  const origin = fields.get("origin");
  return origin !== null && browser?.origins.includes(origin) === true && fields.get("x-sluice-console") !== null;
}

/** Gives the first entry of a field to which each proxy adds: what the client's own connection was. */
const firstOf = (field: string | null): string | null => field?.split(",", 1)[0]?.trim().toLowerCase() || null;

/** Gives an origin as browsers write it, without the port that its scheme has anyway; none for a host that can't be one. */
function originOf(isSecure: boolean, host: string | null): string[] {
  const url = host === null || host === "" ? null : URL.parse(`${isSecure ? "https" : "http"}://${host}/`);
  return url === null ? [] : [url.origin];
}
