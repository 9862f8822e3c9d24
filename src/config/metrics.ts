import { type Family, gauge, single } from "../values/family.ts";
import type { LiveConfig } from "./live.ts";

/** Tells Prometheus of the configuration: when it was read, and whether its file has faults. */
export const configFamilies = (status: () => LiveConfig["status"]): readonly Family[] => [
  gauge("sluice_config_loaded_timestamp_seconds", "When the configuration in force was read.", () => single(status().loadedAt / 1000)),
  gauge("sluice_config_faulty", "1 while the file has faults and the one before is in force.", () =>
    single(status().faults.length > 0 ? 1 : 0),
  ),
];
