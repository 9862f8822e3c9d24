import { type TObject, type TProperties, Type } from "@sinclair/typebox";
import { DURATION_PATTERN } from "../values/units.ts";

/** Gives the schema of an object that takes no other fields than these. */
export const Shape = <T extends TProperties>(properties: T, description: string, more: object = {}): TObject<T> =>
  Type.Object(properties, { additionalProperties: false, description, ...more });

/** Gives the schema of a text such as "30s". `more` overrides what is said of it. */
export const Duration = (description: string, more: object = {}) =>
  Type.String({ pattern: DURATION_PATTERN, description, expects: 'a duration such as "250ms", "30s", "5m", "1h" or "30d"', ...more });
