import { Type } from "@sinclair/typebox";
import { Elysia } from "elysia";
import type { Standing } from "./certificates.ts";

const Time = (description: string) =>
  Type.Union([Type.String(), Type.Null()], { description, shown: { anyOf: [{ type: "string", format: "date-time" }, { type: "null" }] } });

const Certificate = Type.Object({
  names: Type.Array(Type.String(), {
    description: "The names and addresses that it is for; none while there is no good one yet.",
    examples: [["api.example.com"]],
  }),
  source: Type.Union([Type.Literal("file"), Type.Literal("acme")], {
    description: "Where it comes from: a file of the configuration's, or an authority that it was ordered from.",
  }),
  place: Type.String({ description: "The file, or the host that it is ordered for.", examples: ["/etc/sluice/cert.pem"] }),
  endsAt: Time("When it is no longer valid; null while there is none."),
  renewsAt: Time("When another is ordered; null for files, which somebody else replaces."),
  trouble: Type.Union([Type.String(), Type.Null()], {
    description: "Why it can't be read, ordered or renewed: the last good one serves on. null: all is well.",
  }),
  troubledSince: Time("Since when; null while all is well."),
});

const textOf = (at: number | null): string | null => (at === null ? null : new Date(at).toISOString());

/** Gives the endpoint that lists certificates. `standings` tells how it stands with each place that they come from. */
export const certificatesAdmin = (standings: () => readonly Standing[]) =>
  new Elysia({ prefix: "/certificates", tags: ["certificates"], normalize: false }).get(
    "/",
    () => ({
      items: standings().map(({ names, endsAt, renewsAt, troubledSince, source, place, trouble }) => ({
        ...{ names: [...names], source, place, endsAt: textOf(endsAt), renewsAt: textOf(renewsAt), trouble },
        troubledSince: textOf(troubledSince),
      })),
    }),
    {
      response: Type.Object({ items: Type.Array(Certificate, { description: "The one for callers who name none first." }) }),
      detail: {
        summary: "List the certificates that https is served with",
        description:
          "A file that can't be served with is listed with what is wrong with it, as is one that names the authorities of clients' certificates. Keys are never shown.",
      },
    },
  );
