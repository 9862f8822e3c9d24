import { type Family, gauge, single } from "../values/family.ts";
import type { Guard } from "./guard.ts";

/** Tells Prometheus how many addresses are blocked. */
export const guardFamilies = (guard: Guard): readonly Family[] => [
  gauge("sluice_blocks_active", "Addresses and blocks that are refused.", () => single(guard.all().length), "max"),
];
