import { type Static, Type } from "@sinclair/typebox";
import type { Section } from "../config/section.ts";
import { TlsConfig } from "../edge/settings.ts";
import type { Fault } from "../schema/faults.ts";
import { Duration, Port, Shape, Size } from "../schema/fields.ts";
import { cidrFaults } from "../schema/rules.ts";
import { isLoopbackHost } from "../values/ip.ts";
import { parseSize } from "../values/units.ts";

const Connections = (description: string) =>
  Type.Union([Type.Integer({ minimum: 1, maximum: 1e7 }), Type.Literal("auto")], {
    default: "auto",
    description,
    expects: 'a whole number from 1, or "auto"',
  });

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
    trustedProxies: Type.Array(Type.String({ maxLength: 64 }), {
      default: [],
      maxItems: 256,
      description: "Addresses and blocks (CIDR) whose X-Forwarded-For, -Proto and -Host are believed.",
    }),
    maxBodySize: Size("Largest request body.", { default: "10mb" }),
    maxHeaderSize: Size("Largest request head. At least 1kb, at most 1mb.", { default: "16kb" }),
    maxConnections: Connections(
      "Most connections that clients may have open; beyond it the longest idle one is closed, and where none is idle the new one. auto: two thirds of the files that the process may open, so that the others are left for backends.",
    ),
    maxConnectionsPerAddress: Connections(
      "The same for one address (one /64 of IPv6); not for trustedProxies and loopback. auto: a quarter of maxConnections, at least 1000, since many callers may share one address.",
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
  restart: { fields: ["host", "port", "workers", "tls"] },
  notYet: ["tls.port", "tls.certificates", "tls.acme", "tls.clientCertificates", "tls.http2", "tls.http3"],
  faults: ({ trustedProxies, maxHeaderSize, tls }) => {
    const faults = cidrFaults(trustedProxies, ["server", "trustedProxies"]);
    for (const field of ["cert", "key"] as const)
      if (tls !== null && tls[field] === null)
        faults.push({ path: ["server", "tls", field], message: "is required: https needs a certificate and its key" });
    const size = parseSize(maxHeaderSize);
    if (size < 1024 || size > 1024 ** 2) faults.push({ path: ["server", "maxHeaderSize"], message: "must be from 1kb to 1mb" });
    return faults;
  },
  warnings: ({ trustedProxies }, { host }) =>
    isLoopbackHost(host)
      ? []
      : trustedProxies.flatMap((entry, i): Fault[] =>
          /\/0$/.test(entry)
            ? [
                {
                  path: ["server", "trustedProxies", i],
                  message: "believes everybody's X-Forwarded-For: any caller can pass for any address",
                },
              ]
            : [],
        ),
};
