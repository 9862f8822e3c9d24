import type { Crowd, Excess } from "../http/crowd.ts";
import type { Clock } from "../values/clock.ts";
import type { Warnings } from "./warnings.ts";

/** Milliseconds without a refusal after which the warning is cleared. */
const OVER_AFTER = 60_000;

const MESSAGES: Readonly<Record<Excess, { code: string; message: string }>> = {
  total: {
    code: "connectionsExhausted",
    message:
      "All connections that the gateway may have are in use: idle ones are closed early, and new ones are closed when none is idle. Raise the limit of open files (ulimit -n, LimitNOFILE), or server.maxConnections.",
  },
  address: {
    code: "addressConnectionsExhausted",
    message:
      "One address has as many connections as it may have: its idle ones are closed early, and its new ones when none is idle. If it is a proxy, list it in server.trustedProxies; otherwise see server.maxConnectionsPerAddress.",
  },
};

/**
 * Makes a function, to be called every second, that raises a warning while there are too many connections and clears it a minute after.
 * However many are refused, that is one line in the log.
 */
export function watchCrowd(crowd: Crowd, warnings: Warnings, clock: Clock): () => void {
  const seen = { total: 0, address: 0 };
  const last = { total: Number.NEGATIVE_INFINITY, address: Number.NEGATIVE_INFINITY };
  return () => {
    const now = clock.now();
    for (const of of ["total", "address"] as const) {
      const { code, message } = MESSAGES[of];
      const count = crowd.refused[of] + crowd.closedEarly[of];
      if (count > seen[of]) {
        seen[of] = count;
        last[of] = now;
        const { open, limits, refused, closedEarly } = crowd;
        const whose =
          of === "total" ? `${open} of ${limits.maxConnections} open` : `${crowd.lastCrowded}: ${limits.maxConnectionsPerAddress}`;
        warnings.raise(code, message, `${whose}; since the start ${closedEarly[of]} closed early, ${refused[of]} refused`);
      } else if (now - last[of] > OVER_AFTER) warnings.clear(code);
    }
  };
}
