import { type Static, Type } from "@sinclair/typebox";
import type { Section } from "../config/section.ts";
import { Duration, Shape } from "../schema/fields.ts";
import { peerFaults, YEAR } from "../schema/rules.ts";
import { parseDuration } from "../values/units.ts";

export const GuardConfig = Type.Union(
  [
    Shape(
      {
        invalidKeyLimit: Type.Integer({
          minimum: 1,
          maximum: 10_000,
          default: 10,
          description: "So many keys or admin tokens that nobody has, from one address within the window, and it is refused.",
        }),
        window: Duration("The span in which they are counted.", { default: "5m" }),
        blockFor: Duration("How long the address is refused.", { default: "15m" }),
        ipv6Prefix: Type.Integer({
          minimum: 16,
          maximum: 128,
          default: 64,
          description: "IPv6 addresses are counted and refused by networks of this size: a subscriber has a whole one.",
        }),
        allow: Type.Array(Type.String({ maxLength: 64 }), {
          default: [],
          maxItems: 256,
          description: 'Addresses and blocks (CIDR) that are never refused; "unix": callers on the Unix socket of whom no address is told.',
        }),
      },
      "Refuses addresses that try out keys.",
    ),
    Type.Null(),
  ],
  { default: {}, description: "Refuses addresses that try out keys; null: none by itself, only those that the admin API names." },
);
export type GuardConfig = Static<typeof GuardConfig>;

export const guardSection: Section<"guard", typeof GuardConfig> = {
  name: "guard",
  schema: GuardConfig,
  faults: (guard) => {
    if (guard === null) return [];
    const faults = peerFaults(guard.allow, ["guard", "allow"]);
    for (const field of ["window", "blockFor"] as const)
      if (parseDuration(guard[field]) < 1000 || parseDuration(guard[field]) > YEAR)
        faults.push({ path: ["guard", field], message: "must be from 1s to 366d" });
    return faults;
  },
};
