import type { Arrival } from "../exchange/exchange.ts";
import type { Gate } from "../exchange/line.ts";
import { isLocal } from "../http/local.ts";
import { type Problem, problem } from "../http/problem.ts";

/** Says where the console is served: as it is safe, on the main port as well, or nowhere. */
export type ConsolePlace = "auto" | "main" | "off";

/** Holds the settings that say where the console is served. */
export interface ConsoleSettings {
  readonly console: ConsolePlace;
  /** The admin API's own listener; `null`: it is served on the main port. */
  readonly listen: object | null;
}

const OFF = problem(
  "forbidden",
  'The console is turned off: set admin.console in the gateway\'s configuration to "auto", with a listener of its own in admin.listen, or to "main".',
);

const NOT_HERE = problem(
  "forbidden",
  'On this port the console is for this machine alone, by a Host such as localhost, and not through a proxy: give it a listener of its own (admin.listen in the gateway\'s configuration), or set admin.console to "main".',
);

/**
 * Says why the console is not served to whoever sends a request, and no cookie of its sessions taken; `null`: it is served. Where the admin
 * API has a listener of its own, only that one leads here.
 */
export function consoleRefusal(
  { console, listen }: ConsoleSettings,
  arrival: Pick<Arrival, "ip" | "head" | "hasProxyLine">,
): Problem | null {
  if (console === "off") return OFF;
  return console === "main" || listen !== null || isLocal(arrival) ? null : NOT_HERE;
}

/** Makes the gate of the console's pages. `settings` gives those in force. */
export const consoleGate =
  (settings: () => ConsoleSettings): Gate =>
  ({ incoming, asker }) => {
    const refusal = consoleRefusal(settings(), incoming);
    asker?.tell("console", refusal === null ? "the console is served here" : String(refusal.members.detail), refusal === null);
    return refusal;
  };
