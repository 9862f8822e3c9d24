import { Type } from "@sinclair/typebox";
import { Time, timeText } from "../http/conventions.ts";
import type { Clock } from "../values/clock.ts";
import type { Issuer } from "./issuer.ts";

/** Describes whether an issuer's tokens can be judged at the moment. */
export const IssuerState = Type.Object(
  {
    hasKeys: Type.Boolean({ description: "Whether there is something to check its tokens by: its keys, or its secret." }),
    fetchedAt: Time("When its keys were fetched last; null: never, or a secret checks its tokens."),
    trouble: Type.Union([Type.String(), Type.Null()], {
      description: "Why its keys, or answers about its tokens, can't be had at the moment; null while they can.",
    }),
  },
  { description: "Whether its tokens can be judged at the moment, as far as this instance knows." },
);

/** Gives the state of an issuer, with times for people. `null`: one that is not in force, since another has its `issuer`. */
export function issuerState(issuer: Issuer | null, clock: Clock) {
  if (issuer === null) return { hasKeys: false, fetchedAt: null, trouble: "another issuer has the same iss, and counts here" };
  const { keys } = issuer;
  const fetchedAt = keys?.fetchedAt ?? null;
  return {
    hasKeys: keys === null || keys.isUsable,
    fetchedAt: timeText(fetchedAt === null ? null : clock.wall() + fetchedAt - clock.now()),
    trouble: issuer.whyAway,
  };
}
