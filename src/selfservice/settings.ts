import { Type } from "@sinclair/typebox";
import type { Section } from "../config/section.ts";
import { Shape } from "../schema/fields.ts";

const schema = Type.Union(
  [
    Shape(
      {
        url: Type.Union(
          [
            Type.String({
              pattern: "^https?://[^/?#\\s@]+$",
              expects: 'an address without a path such as "https://api.example.com"',
              examples: ["https://api.example.com"],
            }),
            Type.Null(),
          ],
          {
            default: null,
            description:
              "Where callers reach the gateway, for the links to /my that you make. null: where your request for the link has reached it; with admin.listen that is another address, and you must say it.",
          },
        ),
      },
      "Lets callers see where they stand.",
    ),
    Type.Null(),
  ],
  {
    default: null,
    description:
      "{}: GET /api/v1/me tells callers what is left of their limits and what they have used, POST /api/v1/me/rotate gives their key a new secret, and /api/v1/me/keys lists, makes, rotates and revokes keys, as their tier's selfService says. /my is a page for the same, to which POST /admin/consumers/ID/link makes links. null: there are no such paths.",
  },
);

export const selfServiceSection: Section<"selfService", typeof schema> = { name: "selfService", schema };
