import { isCidr, UNIX_PEER } from "../values/ip.ts";
import { parseDuration } from "../values/units.ts";
import type { Fault, Path } from "./faults.ts";

/** Checks that several sections have in common and that a schema can't express. */

export const DAY = 86_400_000;
export const YEAR = 366 * DAY;

/** Gives a fault when a duration is not from 1 ms to 24 h. */
export function timeFaults(duration: string, path: Path): Fault[] {
  const milliseconds = parseDuration(duration);
  return milliseconds < 1 || milliseconds > DAY ? [{ path, message: "must be from 1ms to 24h" }] : [];
}

/** Gives a fault for each entry of a list at `at` that is neither an address nor an address block. */
export const cidrFaults = (entries: readonly string[], at: Path): Fault[] =>
  entries.flatMap((entry, i) =>
    isCidr(entry)
      ? []
      : [{ path: [...at, i], message: `must be an address or a block such as "10.0.0.0/8", got ${JSON.stringify(entry)}` }],
  );

/** Gives the same as `cidrFaults`, for a list of peers: those on a Unix socket may stand in it by their name. */
export const peerFaults = (entries: readonly string[], at: Path): Fault[] =>
  entries.flatMap((entry, i) =>
    isCidr(entry) || entry === UNIX_PEER
      ? []
      : [{ path: [...at, i], message: `must be an address or a block such as "10.0.0.0/8", or "unix", got ${JSON.stringify(entry)}` }],
  );
