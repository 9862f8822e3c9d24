import { Type } from "@sinclair/typebox";

const Path = Type.String({
  pattern: "^[^.\\s]{1,64}(\\.[^.\\s]{1,64}){0,7}$",
  description: "Names of fields from the outside in.",
  expects: 'names joined by dots such as "usage.total_tokens"',
  examples: ["usage.total_tokens"],
});

/** Gives the schema of the places where a response says what it cost. `more` overrides parts of it. */
export const UsageField = (description: string, more: object) =>
  Type.Union([Type.Literal("auto"), Path, Type.Array(Path, { minItems: 1, maxItems: 4 }), Type.Null()], {
    description,
    expects: '"auto", a path such as "usage.total_tokens", a list of them, or null',
    ...more,
  });
