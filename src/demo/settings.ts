import { Type } from "@sinclair/typebox";
import type { Section } from "../config/section.ts";
import { type ConsumerConfig, declaredKey } from "../consumers/settings.ts";
import type { Fault } from "../schema/faults.ts";
import { isLoopbackHost } from "../values/ip.ts";
import { declaredHash } from "../values/key-format.ts";
import { PUBLIC_KEYS } from "./public-keys.ts";

/** The names of the upstreams that the demo backend is offered as. */
export const DEMO_UPSTREAMS = ["demo", "demo-downstream"] as const;

/** SHA-256 of the demo's keys: a file may hold them so. */
const PUBLIC_HASHES: ReadonlySet<string> = new Set([...PUBLIC_KEYS].map(declaredHash));

const publicKeys = (consumers: readonly ConsumerConfig[]): Fault[] =>
  consumers.flatMap((consumer, i) =>
    consumer.keys.flatMap((key, j): Fault[] =>
      PUBLIC_HASHES.has(declaredHash(declaredKey(key).key))
        ? [{ path: ["consumers", i, "keys", j], message: "is a key of the demo, which anybody knows who reads the documentation" }]
        : [],
    ),
  );

const schema = Type.Boolean({
  default: false,
  description: "Starts a demo backend on a free loopback port and offers it as the upstreams demo and demo-downstream.",
});

export const demoSection: Section<"demo", typeof schema> = {
  name: "demo",
  schema,
  restart: { allBut: [] },
  faults: (isOn, _, { upstreams }) =>
    !isOn
      ? []
      : DEMO_UPSTREAMS.filter((name) => Object.hasOwn(upstreams, name)).map((name) => ({
          path: ["upstreams", name],
          message: 'with "demo": true this name is taken by the demo backend',
        })),
  warnings: (isOn, { config, host }) => {
    if (isLoopbackHost(host)) return [];
    if (!isOn) return publicKeys(config.consumers);
    return [
      {
        path: ["demo"],
        message: `the demo can be reached on ${host}: its keys are public, and anybody can make its backend fail`,
      },
    ];
  },
};
