import { Type } from "@sinclair/typebox";
import type { Section } from "../config/section.ts";
import { Shape } from "../schema/fields.ts";

const schema = Type.Union([Shape({}, "Verifies keys for services of your own."), Type.Null()], {
  default: null,
  description:
    "{}: POST /v1/keys/verify tells services of your own whether a key is good, and charges its limits. Who may ask: holders of an admin token (operator, admin), and of a key with the scope keys:verify. null: there is no such path.",
});

export const keyVerificationSection: Section<"keyVerification", typeof schema> = { name: "keyVerification", schema };
