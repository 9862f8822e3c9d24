import { isAdminUnencrypted } from "../config/admin-settings.ts";
import type { Ground } from "./ground.ts";

/**
 * Raises the warning that the admin API can be reached from elsewhere without TLS, or clears it: at the start, and after each change of the
 * configuration. A worker leaves it to the keeper.
 */
export function warnOfExposure({ inForce, warnings, options, bus }: Pick<Ground, "inForce" | "warnings" | "options" | "bus">): void {
  const { config } = inForce;
  if (bus.role === "worker") return;
  if (!isAdminUnencrypted(config, options.host ?? config.server.host)) warnings.clear("adminUnencrypted");
  else
    warnings.raise(
      "adminUnencrypted",
      "The admin API can be reached from elsewhere without TLS: its token can be read on the way.",
      'give it a listener of its own ("admin": { "listen": { "host": "127.0.0.1", "port": 8081 } }), or set server.tls',
      // The log has a line of the configuration's own warnings.
      true,
    );
}
