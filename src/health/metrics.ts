import { type Family, gauge, single } from "../values/family.ts";
import type { SystemHealth } from "./health.ts";

/** Tells Prometheus whether the system is DEGRADED. */
export const healthFamilies = (health: SystemHealth): readonly Family[] => [
  gauge("sluice_system_degraded", "1 while the system is DEGRADED.", () => single(health.isDegraded ? 1 : 0), "max"),
];
