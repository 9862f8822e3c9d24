import { type Static, Type } from "@sinclair/typebox";
import type { Section } from "../config/section.ts";
import { Shape } from "../schema/fields.ts";

export const IdentityConfig = Shape(
  {
    header: Type.String({
      default: "X-API-Key",
      pattern: "^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}$",
      description: "The header that carries a key.",
      expects: "a header name",
    }),
    bearer: Type.Boolean({ default: true, description: "Whether Authorization: Bearer may carry one." }),
    basic: Type.Boolean({
      default: false,
      description:
        "Whether the password of Authorization: Basic may be one, with any user name: for git, pip, npm and Maven, which have no other way. Off by default: backends ask for passwords of their own.",
    }),
    query: Type.Union([Type.String({ minLength: 1, maxLength: 64 }), Type.Null()], {
      default: null,
      description: "The query parameter that may carry one. Off by default: URLs end up in logs.",
    }),
  },
  "Where a key may be.",
  { default: {} },
);

/** Says where a key may stand in a request. */
export interface IdentitySettings extends Omit<Static<typeof IdentityConfig>, "header"> {
  /** The field that carries a key, as configured and in lower case. */
  readonly headerName: string;
  readonly header: string;
}

/** Compiles what requests need of the section, once for each snapshot. */
export const compileIdentity = ({ header, ...rest }: Static<typeof IdentityConfig>): IdentitySettings => ({
  ...{ headerName: header, header: header.toLowerCase() },
  ...rest,
});

export const identitySection: Section<"identity", typeof IdentityConfig> = { name: "identity", schema: IdentityConfig };
