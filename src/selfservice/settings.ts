import { Type } from "@sinclair/typebox";
import type { Section } from "../config/section.ts";
import { Shape } from "../schema/fields.ts";

const schema = Type.Union([Shape({}, "Lets callers see where they stand."), Type.Null()], {
  default: null,
  description:
    "{}: GET /api/v1/me tells callers what is left of their limits and what they have used, POST /api/v1/me/rotate gives their key a new secret, and /api/v1/me/keys lists, makes, rotates and revokes keys, as their tier's selfService says. null: there are no such paths.",
});

export const selfServiceSection: Section<"selfService", typeof schema> = { name: "selfService", schema };
