import { Type } from "@sinclair/typebox";
import type { Section } from "../config/section.ts";
import { Shape } from "../schema/fields.ts";

export const StorageConfig = Shape(
  {
    path: Type.String({
      default: "data/sluice.db",
      minLength: 1,
      description: "The database file; its folder is made when it is missing.",
    }),
  },
  "Where records are kept.",
  { default: {} },
);

export const storageSection: Section<"storage", typeof StorageConfig> = {
  name: "storage",
  schema: StorageConfig,
  restart: { fields: ["path"] },
};
