import { Type } from "@sinclair/typebox";
import type { Section } from "../config/section.ts";
import { Duration, Shape } from "../schema/fields.ts";
import { DAY } from "../schema/rules.ts";
import { parseDuration } from "../values/units.ts";

export const AuditConfig = Shape(
  {
    keepFor: Type.Union([Duration("A duration."), Type.Null()], {
      default: null,
      description: "How long the record of what was done is kept; null: for ever. What is left can always be verified.",
    }),
  },
  "The record of what was done.",
  { default: {} },
);

export const auditSection: Section<"audit", typeof AuditConfig> = {
  name: "audit",
  schema: AuditConfig,
  faults: ({ keepFor }) =>
    keepFor !== null && parseDuration(keepFor) < DAY
      ? [{ path: ["audit", "keepFor"], message: "must be at least 1d: the record is for questions that come later" }]
      : [],
};
