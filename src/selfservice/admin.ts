import { type Static, Type } from "@sinclair/typebox";
import { Elysia } from "elysia";
import type { Holder } from "../admin/holders.ts";
import type { Visits } from "../admin/visits.ts";
import { DurationField, durationOf, Since, timeText } from "../http/conventions.ts";
import { invalid, refused } from "../http/refused.ts";
import { KINDS } from "../records/kinds.ts";
import type { Links } from "./links.ts";

/** Milliseconds for which a link works that says nothing of it, and at most. */
const USUAL_TTL = 30 * 60_000;
const MAX_TTL = 7 * 86_400_000;

const ById = Type.Object({ id: Type.String({ description: "The consumer's id." }) });

const NewLink = Type.Object(
  { ttl: Type.Optional(DurationField("How long the link works, 7 days at most; 30m by default.", "30m")) },
  { additionalProperties: false, description: "A link to create." },
);

const ConsumerLink = Type.Object({
  url: Type.String({
    description: "The link: it works once, and lets whoever opens it see and change the consumer's keys. It is here and nowhere else.",
    examples: ["https://api.example.com/my#link=SECRET"],
  }),
  expiresAt: Since("Until when it works."),
});

export interface LinksAdminDeps {
  readonly links: Links;
  readonly visits: Visits;
  /** Gives what names the admin token that somebody uses, or has signed in with: what it lets in ends with it. `null`: there is none. */
  readonly markOf: (holder: Holder) => string | null;
  /** Gives the address at which consumers reach the gateway, as the configuration has it; `null`: it does not say. */
  readonly url: () => string | null;
  /** Tells whether the admin API has a listener of its own, so that its address is not that of consumers. */
  readonly isElsewhere: () => boolean;
}

/** Gives the endpoint that makes links to the page for consumers. */
export const linksAdmin = ({ links, visits, markOf, url, isElsewhere }: LinksAdminDeps) => {
  const addressFor = (request: Request): string => {
    const [seen] = visits.of(request).browser?.origins ?? [];
    const address = url() ?? (isElsewhere() ? null : (seen ?? null));
    if (address !== null) return address;
    throw refused("conflict", "It is not known where consumers reach the gateway: set selfService.url in its configuration.");
  };
  return new Elysia({ prefix: `/${KINDS.consumer.path}`, tags: ["consumers"], normalize: false }).post(
    "/:id/link",
    ({ params, body, request, set }) => {
      const address = addressFor(request);
      const ttl = ttlOf(body);
      const { holder } = visits.of(request);
      const { path, expiresAt } = links.make(params.id, ttl, holder === null ? null : markOf(holder));
      set.status = 201;
      return { url: `${address}${path}`, expiresAt: timeText(expiresAt) ?? "" };
    },
    {
      parse: "json",
      params: ById,
      body: NewLink,
      response: { 201: ConsumerLink },
      detail: {
        summary: "Create a link for a consumer",
        description:
          "Whoever opens it first gets to `/my`, and sees the consumer's keys, limits and usage for 12 hours; they rotate and make keys as the tier's `selfService` allows. Takes the role admin, since it gives access to keys.",
      },
    },
  );
};

/** Gives how long a link is to work, in milliseconds. Throws 422. */
function ttlOf({ ttl }: Static<typeof NewLink>): number {
  if (ttl === undefined) return USUAL_TTL;
  const asked = durationOf(ttl, "ttl");
  if (asked < 1000 || asked > MAX_TTL) throw invalid([{ path: ["ttl"], message: "must be from 1s to 7d" }]);
  return asked;
}
