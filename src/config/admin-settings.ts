import { Type } from "@sinclair/typebox";
import { redirects, tlsPortOf } from "../edge/settings.ts";
import type { Fault } from "../schema/faults.ts";
import { Nullable, Port, Shape } from "../schema/fields.ts";
import { peerFaults } from "../schema/rules.ts";
import { isAllowEntry } from "../upstreams/allow.ts";
import { CidrSet, isLoopbackHost, isPrivateBlock, UNIX_PEER } from "../values/ip.ts";
import type { Config } from "./schema.ts";
import type { Section } from "./section.ts";

// The admin API stands above the configuration, which it shows; so its section is here.

export const AdminConfig = Shape(
  {
    listen: Nullable(
      Shape(
        {
          host: Type.String({ default: "127.0.0.1", minLength: 1, description: "The address to listen on." }),
          port: Port("The port to listen on."),
        },
        "A listener of its own.",
      ),
      "Where /admin and /swagger are served; null: on the main port.",
    ),
    console: Type.Union([Type.Literal("auto"), Type.Literal("main"), Type.Literal("off")], {
      default: "auto",
      description:
        "Where the console is served, and its sessions hold. auto: on the admin API's own listener; without one on the main port, for this machine alone, by a Host such as localhost. main: without one on the main port for all, where a page of a backend can act as whoever is signed in. off: nowhere.",
    }),
    allowFrom: Type.Array(Type.String({ maxLength: 64 }), {
      default: [],
      maxItems: 256,
      description:
        "Addresses and blocks (CIDR) from which the admin API, its documentation and, with a token, /metrics can be used, on whichever listener; none means all. By the caller's address: the peer's, or the one that server.trustedProxies name; \"unix\": callers on the Unix socket of whom no address is told. Others get 403, and no token of theirs is looked up. Programs on this machine read /metrics all the same.",
      examples: [["127.0.0.1", "::1", "10.0.0.0/8"]],
    }),
    upstreamAllow: Type.Union(
      [Type.Array(Type.String({ maxLength: 256 }), { maxItems: 1024, examples: [["10.0.0.0/8", "*.internal.example.com"]] }), Type.Null()],
      {
        default: null,
        description:
          "Hosts (also *.example.com), address blocks and Unix sockets (unix:/run/app.sock, unix:/run/apps/*) that upstreams and issuers made by the admin API may have; null: all but link-local addresses, clouds' metadata services and Unix sockets. Webhooks made by the admin API may have these besides the addresses of the internet.",
      },
    ),
    editFile: Type.Boolean({
      default: false,
      description:
        "Whether the admin API and the console may write the configuration file. Never what belongs to the process (server, admin, storage, redis, plugins, telemetry.otlp), nor files, sockets and variables of the environment that the file did not name before. false, since whoever holds an admin token could otherwise change what you declared.",
    }),
  },
  "The admin API.",
  { default: {} },
);

/** The addresses by which programs on this machine come to a listener that only they reach. */
const LOOPBACK: readonly string[] = ["127.0.0.1", "::1"];

/** Warns where the admin API can be reached from this machine alone, and not be used from there: by nobody, unless a proxy names others. */
function lockedOut(allowFrom: readonly string[], proxies: readonly string[], host: string): Fault[] {
  const isIn = (entries: readonly string[]): boolean => LOOPBACK.some((ip) => new CidrSet(entries).has(ip));
  if (allowFrom.length === 0 || isIn(allowFrom) || isIn(proxies)) return [];
  return [
    {
      path: ["admin", "allowFrom"],
      message: `lets nobody in: the admin API listens on ${host}, where all callers come from this machine: add "127.0.0.1" and "::1", or name the proxy before it in server.trustedProxies`,
    },
  ];
}

export const adminSection: Section<"admin", typeof AdminConfig> = {
  name: "admin",
  schema: AdminConfig,
  restart: { fields: ["listen"] },
  faults: ({ allowFrom, upstreamAllow }) => [
    ...peerFaults(allowFrom, ["admin", "allowFrom"]),
    ...(upstreamAllow ?? []).flatMap((entry, i): Fault[] =>
      isAllowEntry(entry)
        ? []
        : [
            {
              path: ["admin", "upstreamAllow", i],
              message: `must be a host, "*.example.com", a block of addresses or a Unix socket such as "unix:/run/app.sock", got ${JSON.stringify(entry)}`,
            },
          ],
    ),
  ],
  warnings: ({ listen, allowFrom, console }, { config, host }) => {
    const adminHost = listen?.host ?? host;
    const isOnSocket = listen === null && config.server.unix !== null && allowFrom.includes(UNIX_PEER);
    if (isLoopbackHost(adminHost)) return isOnSocket ? [] : lockedOut(allowFrom, config.server.trustedProxies, adminHost);
    if (!isAdminUnencrypted(config, host)) return [];
    const openConsole: Fault = {
      path: ["admin", "console"],
      message: `has the console on ${adminHost} without TLS, where the cookie of whoever is signed in can be read on the way: set server.tls, or give the admin API a listener of its own`,
    };
    return [
      ...(listen === null && console === "main" ? [openConsole] : []),
      {
        path: listen === null ? ["admin"] : ["admin", "listen"],
        message: `the admin API can be reached on ${adminHost} without TLS, so that its token can be read on the way: give it a listener of its own ("admin": { "listen": { "host": "127.0.0.1", "port": 8081 } }), or set server.tls`,
      },
    ];
  },
};

/** Tells whether the admin API can be reached from elsewhere without TLS. `host`: where the main port listens. */
export function isAdminUnencrypted({ server, admin: { listen, allowFrom } }: Pick<Config, "server" | "admin">, host: string): boolean {
  if (isLoopbackHost(listen?.host ?? host)) return false;
  // Whoever lets in private networks alone has decided whom they trust with what is on the way.
  if (allowFrom.length > 0 && allowFrom.every((entry) => entry === UNIX_PEER || isPrivateBlock(entry))) return false;
  const { tls } = server;
  if (tls === null) return true;
  // The plain port beside the one for https serves the admin API as well, unless it sends callers there.
  return listen === null && tlsPortOf(tls) !== null && !redirects(tls);
}
