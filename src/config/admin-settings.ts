import { Type } from "@sinclair/typebox";
import type { Fault } from "../schema/faults.ts";
import { Nullable, Port, Shape } from "../schema/fields.ts";
import { isAllowEntry } from "../upstreams/allow.ts";
import { isLoopbackHost } from "../values/ip.ts";
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
    upstreamAllow: Type.Union(
      [Type.Array(Type.String({ maxLength: 256 }), { maxItems: 1024, examples: [["10.0.0.0/8", "*.internal.example.com"]] }), Type.Null()],
      {
        default: null,
        description:
          "Hosts (also *.example.com) and address blocks that upstreams made by the admin API may have; null: all but link-local addresses and clouds' metadata services.",
      },
    ),
  },
  "The admin API.",
  { default: {} },
);

export const adminSection: Section<"admin", typeof AdminConfig> = {
  name: "admin",
  schema: AdminConfig,
  restart: { fields: ["listen"] },
  faults: ({ upstreamAllow }) =>
    (upstreamAllow ?? []).flatMap((entry, i): Fault[] =>
      isAllowEntry(entry)
        ? []
        : [
            {
              path: ["admin", "upstreamAllow", i],
              message: `must be a host, "*.example.com" or a block of addresses, got ${JSON.stringify(entry)}`,
            },
          ],
    ),
  warnings: ({ listen }, { config, host }) => {
    const adminHost = listen?.host ?? host;
    if (isLoopbackHost(adminHost) || config.server.tls !== null) return [];
    return [
      {
        path: listen === null ? ["admin"] : ["admin", "listen"],
        message: `the admin API can be reached on ${adminHost} without TLS, so that its token can be read on the way: give it a listener of its own ("admin": { "listen": { "host": "127.0.0.1", "port": 8081 } }), or set server.tls`,
      },
    ];
  },
};
