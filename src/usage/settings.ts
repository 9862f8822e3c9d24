import type { Section } from "../config/section.ts";
import { Duration, Shape } from "../schema/fields.ts";
import { DAY } from "../schema/rules.ts";
import { parseDuration } from "../values/units.ts";

export const UsageConfig = Shape(
  { keepFor: Duration("How long hours of usage are kept.", { default: "400d" }) },
  "What consumers have used, by the hour.",
  { default: {} },
);

export const usageSection: Section<"usage", typeof UsageConfig> = {
  name: "usage",
  schema: UsageConfig,
  faults: ({ keepFor }) => (parseDuration(keepFor) < DAY ? [{ path: ["usage", "keepFor"], message: "must be at least 1d" }] : []),
};
