import { DEMO_UPSTREAMS } from "../demo/settings.ts";
import { wantedOf } from "../exchange/own-paths.ts";
import type { Fault } from "../schema/faults.ts";
import { type Config, SECTIONS, settingsOf } from "./schema.ts";
import type { Known } from "./section.ts";

/**
 * Gives all that is wrong with a configuration whose fields are each of the right kind. `also`: names that may be referred to besides those
 * in it.
 */
export function crossFaults(config: Config, also: Partial<Pick<Known, "tiers" | "upstreams" | "pools" | "issuers">> = {}): Fault[] {
  const pools = new Set([...Object.keys(config.pools), ...(also.pools ?? [])]);
  const known: Known = {
    tiers: new Set([...Object.keys(config.tiers), ...(also.tiers ?? [])]),
    upstreams: new Set([...Object.keys(config.upstreams), ...(config.demo ? DEMO_UPSTREAMS : []), ...(also.upstreams ?? [])]),
    pools,
    issuers: new Set([...Object.keys(config.issuers), ...(also.issuers ?? [])]),
    wanted: wantedOf(config, pools.size > 0),
    activities: config.activities?.endpoint ?? null,
    hasAdminListener: config.admin.listen !== null,
  };
  return SECTIONS.flatMap((section) => section.faults?.(settingsOf(config, section), known, config) ?? []);
}
