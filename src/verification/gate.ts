import type { Arrival, Exchange } from "../exchange/exchange.ts";
import { type Gate, inTurn } from "../exchange/line.ts";
import { VERIFICATION_NAME } from "../exchange/own-paths.ts";
import { guardGate } from "../guard/gate.ts";
import type { Guard } from "../guard/guard.ts";
import { type Problem, problem } from "../http/problem.ts";
import { type Entrance, FOR_KNOWN_CALLERS, type Identity } from "../identity/gate.ts";

/** The scope of keys that may ask about other keys. */
export const VERIFY_SCOPE = "keys:verify";

const ENTRANCE: Entrance = { ...FOR_KNOWN_CALLERS, name: VERIFICATION_NAME, scopes: [VERIFY_SCOPE] };

const MISSING: Problem = problem(
  "keyMissing",
  `Send an admin token as Authorization: Bearer TOKEN, or a key with the scope ${VERIFY_SCOPE}.`,
  {},
  [["WWW-Authenticate", 'Bearer realm="sluice"']],
);
const NOT_A_KEY: Problem = problem("forbidden", `Only admin tokens and keys with the scope ${VERIFY_SCOPE} may verify keys.`);

export interface VerifierGateDeps {
  readonly identity: Identity;
  readonly guard: Guard;
  /** Tells whether an admin token is shown, and why its holder may not verify keys: `undefined` without a token, `null` for one who may. */
  readonly adminRefusal: (exchange: Exchange<Arrival>) => Problem | null | undefined;
}

/** Lets holders of an admin token in, whatever their address; and those of a key with the scope. */
export function verifierGate({ identity, guard, adminRefusal }: VerifierGateDeps): Gate {
  const byKey = inTurn([
    guardGate(guard),
    identity.gateFor(ENTRANCE, () => ({ kind: "problem", problem: MISSING })),
    // An issuer's tokens carry the scopes that the issuer likes to give.
    ({ caller }) => (caller.via === "key" ? null : NOT_A_KEY),
  ]);
  return (exchange) => {
    const refusal = adminRefusal(exchange);
    if (refusal === undefined) return byKey(exchange);
    exchange.asker?.tell("identify", refusal === null ? "an admin token" : String(refusal.members.detail), refusal === null);
    return refusal;
  };
}
