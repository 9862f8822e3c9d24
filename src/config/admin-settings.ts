import { type Static, Type } from "@sinclair/typebox";
import { redirects, tlsPortOf } from "../edge/settings.ts";
import { Claim, isUrl } from "../issuers/settings.ts";
import { type Fault, orNearest } from "../schema/faults.ts";
import { Nullable, Port, Scope, Shape } from "../schema/fields.ts";
import { peerFaults } from "../schema/rules.ts";
import { isAllowEntry } from "../upstreams/allow.ts";
import { CidrSet, isLoopbackHost, isPrivateBlock, UNIX_PEER } from "../values/ip.ts";
import type { Config } from "./schema.ts";
import type { Known, Section } from "./section.ts";

// The admin API stands above the configuration, which it shows; so its section is here.

const Roles = Shape(
  {
    claim: Claim("The claim of the ID token that says what somebody belongs to: a list, or one text; dots lead inwards.", {
      default: "groups",
    }),
    map: Type.Record(
      Type.String({ minLength: 1, maxLength: 256 }),
      Type.Union([Type.Literal("viewer"), Type.Literal("operator"), Type.Literal("admin")]),
      {
        maxProperties: 256,
        description: "The role of each value; of several values the one with the most rights holds. Whoever has none is refused.",
        examples: [{ "platform-team": "admin", support: "viewer" }],
      },
    ),
  },
  "Roles of people, by what their issuer says of them.",
);

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
    issuer: Type.Union([Type.String({ maxLength: 64 }), Type.Null()], {
      default: null,
      description: "The name of the issuer by which people may sign in to the console, besides an admin token; null: by none.",
      examples: ["main"],
    }),
    clientId: Type.Union([Type.String({ minLength: 1, maxLength: 256 }), Type.Null()], {
      default: null,
      description:
        "The client's id by which the issuer knows the console. Its redirect URI there is /admin/session/callback, below the console's address.",
    }),
    clientSecret: Type.Union(
      [
        Type.String({ minLength: 1, maxLength: 1024, secret: true, description: "The client's secret. Take it from the environment." }),
        Type.Null(),
      ],
      { default: null, description: "The client's secret; null: a public client, which PKCE alone protects." },
    ),
    scopes: Type.Array(Scope, {
      default: [],
      maxItems: 32,
      description: "What is asked of the issuer besides openid: some give the claim for roles with a scope of its own.",
      examples: [["groups"]],
    }),
    roles: Nullable(Roles, "Who may do what of those who sign in by the issuer."),
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
    mcp: Type.Boolean({
      default: false,
      description:
        "Whether the admin API is an MCP server as well, at POST /admin/mcp: tools for assistants, with the rights of the token that they show. false, since an assistant does what it reads.",
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

/** Gives the faults of a sign-in by an issuer. */
function signInFaults(
  { issuer, clientId, clientSecret, scopes, roles }: Static<typeof AdminConfig>,
  { issuers: names }: Pick<Known, "issuers">,
  issuers: Config["issuers"],
): Fault[] {
  const say = (field: string, message: string): Fault => ({ path: ["admin", field], message });
  if (issuer === null) {
    const idle = Object.entries({ clientId, clientSecret, roles, scopes: scopes.length === 0 ? null : scopes });
    return idle
      .filter(([, value]) => value !== null)
      .map(([field]) => say(field, "is for people who sign in by an issuer: set admin.issuer"));
  }
  if (!names.has(issuer)) return [say("issuer", `there is no issuer ${JSON.stringify(issuer)}${orNearest(issuer, names)}`)];
  const { [issuer]: settings } = issuers;
  return [
    ...(settings !== undefined && (settings.secret !== null || !isUrl(settings.issuer))
      ? [
          say(
            "issuer",
            `${JSON.stringify(issuer)} can't say where people sign in: its issuer must be a URL, and its tokens signed by public keys`,
          ),
        ]
      : []),
    ...(clientId === null ? [say("clientId", "is missing: the id under which the issuer knows the console")] : []),
    ...(roles === null ? [say("roles", "is missing: without it nobody who signs in by the issuer may do anything")] : []),
  ];
}

/** Gives the faults of addresses and hosts. */
const faultsOfAddresses = ({ allowFrom, upstreamAllow }: Static<typeof AdminConfig>): Fault[] => [
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
];

export const adminSection: Section<"admin", typeof AdminConfig> = {
  name: "admin",
  schema: AdminConfig,
  restart: { fields: ["listen"] },
  faults: (admin, known, { issuers }) => [...signInFaults(admin, known, issuers), ...faultsOfAddresses(admin)],
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
