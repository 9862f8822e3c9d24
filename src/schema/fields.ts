import { type TObject, type TProperties, Type } from "@sinclair/typebox";
import { NAME_PATTERN } from "../values/name-patterns.ts";
import { DURATION_PATTERN, SIZE_PATTERN } from "../values/units.ts";

/** Gives the schema of an object that takes no other fields than these. */
export const Shape = <T extends TProperties>(properties: T, description: string, more: object = {}): TObject<T> =>
  Type.Object(properties, { additionalProperties: false, description, ...more });

/** Gives the schema of a text such as "30s". `more` replaces or adds keywords of the schema. */
export const Duration = (description: string, more: object = {}) =>
  Type.String({ pattern: DURATION_PATTERN, description, expects: 'a duration such as "250ms", "30s", "5m", "1h" or "30d"', ...more });

/** Gives the schema of a text such as "10mb". `more` replaces or adds keywords of the schema. */
export const Size = (description: string, more: object = {}) =>
  Type.String({ pattern: SIZE_PATTERN, description, expects: 'a size such as "64kb" or "10mb"', ...more });

/** Gives the schema of a name that may look like a path. */
export const Name = (description: string, more: object = {}) =>
  Type.String({
    pattern: "^[A-Za-z0-9][A-Za-z0-9._@:/-]{0,127}$",
    description,
    expects: "a name of 1 to 128 letters, digits and . _ @ : / -",
    ...more,
  });

export const IDENTIFIER = "^[A-Za-z0-9][A-Za-z0-9._@:-]{0,127}$";

/** Gives the schema of a name that stands in addresses and headers. */
export const Identifier = (description: string, more: object = {}) =>
  Type.String({
    pattern: IDENTIFIER,
    description,
    expects: "1 to 128 letters, digits and . _ @ : -, beginning with a letter or digit",
    ...more,
  });

/** The pattern of a header field's name. */
export const FIELD_NAME = "^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}$";

/** The schema of a scope: keys may carry scopes and routes may ask for them. */
export const Scope = Type.String({
  pattern: "^[!#-\\[\\]-~]{1,128}$",
  expects: "a scope: printable ASCII without spaces, quotes and backslashes",
});

/** Gives the schema of a list of models' names, with patterns among them. */
export const ModelNames = (description: string, more: object = {}) =>
  Type.Array(
    Type.String({
      pattern: NAME_PATTERN,
      expects: 'a model\'s name of printable ASCII without spaces, such as "gpt-5", or a pattern such as "gpt-5*"',
    }),
    { maxItems: 256, description: `${description} * stands for any characters.`, examples: [["smart", "gpt-5*"]], ...more },
  );

export const Port = (description: string, more: object = {}) => Type.Integer({ minimum: 0, maximum: 65535, description, ...more });

/** Gives the schema of an object that is `null` by default. */
export const Nullable = <T extends TObject>(schema: T, description: string) =>
  Type.Union([schema, Type.Null()], { default: null, description });

/** Gives the same schema with an empty object as its default: without that, TypeBox fills in no defaults inside a record's values. */
export const filledIn = <T extends TObject>(schema: T): T => ({ ...schema, default: {} });
