import { type Static, Type } from "@sinclair/typebox";
import type { Section } from "../config/section.ts";
import { acmeFaults, acmeWarnings } from "../edge/acme/rules.ts";
import { fixedTlsFaults, tlsFaults } from "../edge/rules.ts";
import { TlsConfig, tlsPortOf } from "../edge/settings.ts";
import { type Fault, orNearest } from "../schema/faults.ts";
import { Duration, Port, Shape, Size } from "../schema/fields.ts";
import { peerFaults } from "../schema/rules.ts";
import { isLoopbackHost, UNIX_PEER } from "../values/ip.ts";
import { parseSize } from "../values/units.ts";
import { MAX_UNIX_PATH } from "./unix-socket.ts";

const Connections = (description: string) =>
  Type.Union([Type.Integer({ minimum: 1, maximum: 1e7 }), Type.Literal("auto")], {
    default: "auto",
    description,
    expects: 'a whole number from 1, or "auto"',
  });

const UnixConfig = Type.Union(
  [
    Type.String({ minLength: 1, examples: ["/run/sluice/sluice.sock"] }),
    Shape(
      {
        path: Type.String({ minLength: 1, description: "The socket's path." }),
        mode: Type.String({
          pattern: "^0?[0-7]{3}$",
          default: "0660",
          description: "The file's rights, octal: who may write it may connect.",
          expects: 'rights such as "0660"',
        }),
      },
      "A path, and the rights of the file.",
    ),
    Type.Null(),
  ],
  {
    default: null,
    description:
      'A Unix socket to listen on besides, with http: a path, or { "path", "mode" }. A peer there is named "unix"; the caller\'s address is what X-Forwarded-For says where trustedProxies lists "unix", or a PROXY line where proxyProtocol does. null: none.',
    expects: 'a path, or { "path": "/run/sluice/sluice.sock", "mode": "0660" }',
  },
);

export const ServerConfig = Shape(
  {
    host: Type.String({
      default: "0.0.0.0",
      minLength: 1,
      description: 'The address to listen on. By default all there are; with "demo": true 127.0.0.1, because the demo\'s keys are public.',
    }),
    port: Port("The port to listen on; 0 takes a free one.", { default: 8080 }),
    workers: Type.Union([Type.Integer({ minimum: 1, maximum: 64 }), Type.Literal("auto")], {
      default: 1,
      description:
        'Processes that serve requests as one gateway: what limits, quotas, budgets and blocks count, they count together. "auto": one for each core; on systems other than Linux one.',
      expects: 'a whole number from 1 to 64, or "auto"',
    }),
    unix: UnixConfig,
    proxyProtocol: Type.Array(Type.String({ maxLength: 64 }), {
      default: [],
      maxItems: 256,
      description:
        'Addresses and blocks (CIDR) of balancers whose connections begin with a PROXY line (version 1 or 2), before TLS where that is spoken; "unix": those on the Unix socket. They must; nobody else may. The address in it is the caller\'s. Not on admin.listen.',
      examples: [["10.0.0.0/24", "unix"]],
    }),
    trustedProxies: Type.Array(Type.String({ maxLength: 64 }), {
      default: [],
      maxItems: 256,
      description: 'Addresses and blocks (CIDR) whose X-Forwarded-For, -Proto and -Host are believed; "unix": peers on the Unix socket.',
    }),
    maxBodySize: Size("Largest request body.", { default: "10mb" }),
    maxHeaderSize: Size("Largest request head. At least 1kb, at most 1mb.", { default: "16kb" }),
    maxConnections: Connections(
      "Most connections that clients may have open; beyond it the longest idle one is closed, and where none is idle the new one. auto: two thirds of the files that the process may open, so that the others are left for backends.",
    ),
    maxConnectionsPerAddress: Connections(
      "The same for one address (one /64 of IPv6); not for trustedProxies, proxyProtocol, loopback and the Unix socket. auto: a quarter of maxConnections, at least 1000, since many callers may share one address.",
    ),
    bodyRate: Size(
      "The least that a request's body must bring a second, averaged over 30 s after 10 s of grace, while Sluice waits for it: slower ones get 408. 0b: any.",
      { default: "1kb" },
    ),
    drainTimeout: Duration("How long requests in flight may take after SIGTERM.", { default: "10s" }),
    tls: Type.Union([TlsConfig, Type.Null()], { default: null, description: "Serve https; null serves http." }),
  },
  "The listener.",
  { default: {} },
);
export type ServerConfig = Static<typeof ServerConfig>;

/** Gives the path of `server.unix`; `null`: there is none. */
export const unixPathOf = (unix: ServerConfig["unix"]): string | null => (typeof unix === "string" ? unix : (unix?.path ?? null));

/** Gives the rights of the file there, as of chmod(2). */
export const unixModeOf = (unix: ServerConfig["unix"]): number =>
  Number.parseInt(unix === null || typeof unix === "string" ? "0660" : unix.mode, 8);

const ProblemBase = Type.Union(
  [
    Type.String({
      maxLength: 1024,
      // What a URI may hold (RFC 3986).
      pattern: "^https?://[A-Za-z0-9._~:/?#\\[\\]@!$&'()*+,;=%-]+$",
      expects: 'a URL such as "https://errors.example.com"',
    }),
    Type.Null(),
  ],
  {
    default: null,
    description:
      "Where the types of Sluice's own errors lead: a URL to which the code is added, behind a slash unless it ends with one or has a query or fragment, as in https://errors.example.com/keyMissing. Registered types of 429 stay. null: urn:sluice:problem:CODE, which leads nowhere.",
    examples: ["https://errors.example.com", "https://docs.example.com/errors#"],
    expects: 'a URL such as "https://errors.example.com", or null',
  },
);

export const problemBaseSection: Section<"problemBase", typeof ProblemBase> = {
  name: "problemBase",
  schema: ProblemBase,
  faults: (base) => {
    if (base === null) return [];
    const url = URL.parse(base);
    if (url === null) return [{ path: ["problemBase"], message: 'must be a URL such as "https://errors.example.com"' }];
    return url.username === "" && url.password === ""
      ? []
      : [{ path: ["problemBase"], message: "must hold no user name and no password: every caller who is refused reads it" }];
  },
};

export const serverSection: Section<"server", typeof ServerConfig> = {
  name: "server",
  schema: ServerConfig,
  restart: { fields: ["host", "port", "workers", "unix"] },
  fixed: (before, next) => {
    // TLS begins otherwise where a line may come before it.
    const faults = fixedTlsFaults(before.tls, next.tls);
    const isSame = next.tls === null || (before.proxyProtocol.length === 0) === (next.proxyProtocol.length === 0);
    const message = "can't be turned on or off while the gateway speaks TLS: restart it";
    return isSame ? faults : [...faults, { path: ["server", "proxyProtocol"], message }];
  },
  notYet: ["tls.http3"],
  faults: ({ trustedProxies, proxyProtocol, unix, port, maxHeaderSize, tls }, known) => {
    const faults = peerFaults(trustedProxies, ["server", "trustedProxies"]);
    faults.push(...peerFaults(proxyProtocol, ["server", "proxyProtocol"]));
    if (tls !== null) faults.push(...tlsFaults(tls));
    if (tls !== null && tls.acme !== null) faults.push(...acmeFaults(tls.acme, ["server", "tls", "acme"]));
    const tier = tls?.clientCertificates?.tier;
    if (tier !== undefined && !known.tiers.has(tier))
      faults.push({
        path: ["server", "tls", "clientCertificates", "tier"],
        message: `there is no tier ${JSON.stringify(tier)}${orNearest(tier, known.tiers)}`,
      });
    if (tls !== null && port !== 0 && tlsPortOf(tls) === port)
      faults.push({
        path: ["server", "tls", "port"],
        message: "is server.port as well: take another, or leave it out to speak https on that one alone",
      });
    const path = unixPathOf(unix);
    if (path !== null && Buffer.byteLength(path) > MAX_UNIX_PATH)
      faults.push({ path: ["server", "unix"], message: `must have at most ${MAX_UNIX_PATH} bytes: systems take no longer ones` });
    // As targets are written: it would name a folder "unix:" here.
    if (path?.startsWith("unix:") === true)
      faults.push({ path: ["server", "unix"], message: `is the path alone: write ${JSON.stringify(path.slice("unix:".length))}` });
    const size = parseSize(maxHeaderSize);
    if (size < 1024 || size > 1024 ** 2) faults.push({ path: ["server", "maxHeaderSize"], message: "must be from 1kb to 1mb" });
    return faults;
  },
  warnings: ({ trustedProxies, proxyProtocol, unix, port, tls }, { host }) => [
    ...(tls === null || tls.acme === null ? [] : acmeWarnings(tls.acme, ["server", "tls", "acme"], port, isLoopbackHost(host))),
    ...(isLoopbackHost(host) ? [] : [...everybody(trustedProxies, "trustedProxies"), ...everybody(proxyProtocol, "proxyProtocol")]),
    ...(unix === null ? [...noSocket(trustedProxies, "trustedProxies"), ...noSocket(proxyProtocol, "proxyProtocol")] : []),
    ...(tls === null ? [] : openBesideRequired(tls)),
  ],
};

type Peers = "trustedProxies" | "proxyProtocol";

const BELIEVES: Readonly<Record<Peers, string>> = {
  trustedProxies: "believes everybody's X-Forwarded-For: any caller can pass for any address",
  proxyProtocol: "believes everybody's PROXY line: any caller can pass for any address, and none without a line is served",
};

/** Warns of entries that take all addresses. */
const everybody = (entries: readonly string[], field: Peers): Fault[] =>
  entries.flatMap((entry, i) => (/\/0$/.test(entry) ? [{ path: ["server", field, i], message: BELIEVES[field] }] : []));

/** Warns of entries that mean the Unix socket, where there is none. */
const noSocket = (entries: readonly string[], field: Peers): Fault[] =>
  entries.flatMap((entry, i) =>
    entry === UNIX_PEER ? [{ path: ["server", field, i], message: "means the Unix socket, and there is none: set server.unix" }] : [],
  );

/** Warns of a plain port that serves beside one where clients must show certificates. */
const openBesideRequired = ({ port, acme, redirect, clientCertificates }: TlsConfig): Fault[] =>
  (port === null && acme === null) || redirect || clientCertificates?.require !== true
    ? []
    : [
        {
          path: ["server", "tls", "redirect"],
          message: "is false: the plain port serves also those who show none of the client certificates that are required on the other",
        },
      ];
