import { Type } from "@sinclair/typebox";
import { Elysia } from "elysia";
import type { Audit } from "../audit/audit.ts";
import { ADDRESS_SHOWN, DurationField, durationOf, Page, PageQuery, pageFrom, pageOf, Since, Time, timeText } from "../http/conventions.ts";
import { invalid, notFound } from "../http/refused.ts";
import { KINDS } from "../records/kinds.ts";
import { isCidr, UNIX_PEER } from "../values/ip.ts";
import { type Block, canonical, type Guard } from "./guard.ts";

const BlockRecord = Type.Object({
  ip: Type.String({ description: "The address, or the block of addresses.", examples: ["203.0.113.9", "2001:db8::/64"] }),
  reason: Type.String({ description: "Why." }),
  by: Type.String({ description: "guard, or the name of the admin token that made it." }),
  createdAt: Since("When it was made."),
  expiresAt: Time("When it ends by itself; null: when it is lifted."),
});

const toJson = (block: Block) => ({
  ip: block.cidr,
  reason: block.reason,
  by: block.by,
  createdAt: timeText(block.createdAt) ?? "",
  expiresAt: timeText(block.expiresAt),
});

const read = (text: string, field: string): string => {
  if (!isCidr(text) && text !== UNIX_PEER)
    throw invalid([{ path: [field], message: `must be an address or a block such as "203.0.113.0/24", got ${JSON.stringify(text)}` }]);
  return canonical(text);
};

const ByIp = Type.Object({
  ip: Type.String({
    description: "The address; the slash of a block is written as %2F.",
    shown: { ...ADDRESS_SHOWN, type: undefined },
  }),
});

export const blocksAdmin = (guard: Guard, audit: Audit) =>
  new Elysia({ prefix: `/${KINDS.block.path}`, tags: ["blocks"], normalize: false })
    .get(
      "/",
      ({ query }) => {
        const { limit, after } = pageOf(query);
        const items = guard.all().filter(({ cidr }) => cidr > after);
        return pageFrom(items.slice(0, limit + 1).map(toJson), limit, ({ ip }) => ip);
      },
      { query: PageQuery, response: Page(BlockRecord), detail: { summary: "List blocked addresses" } },
    )
    .post(
      "/",
      ({ body, set }) => {
        const cidr = read(body.ip, "ip");
        const ttl = body.ttl === undefined ? null : durationOf(body.ttl, "ttl");
        const block = guard.block(cidr, body.reason ?? "", ttl, audit.actor.name);
        set.status = 201;
        set.headers.location = `/admin/blocks/${encodeURIComponent(cidr)}`;
        return toJson(block);
      },
      {
        parse: "json",
        body: Type.Object(
          {
            ip: Type.String({
              maxLength: 64,
              description: "An address or a block of addresses.",
              examples: ["203.0.113.9", "198.51.100.0/24"],
              shown: { ...ADDRESS_SHOWN, type: undefined, maxLength: undefined },
            }),
            reason: Type.Optional(Type.String({ maxLength: 512, description: "Why, for people." })),
            ttl: Type.Optional(DurationField("After this it ends by itself; left out: when it is lifted.", "15m")),
          },
          { additionalProperties: false },
        ),
        response: { 201: BlockRecord },
        detail: {
          summary: "Block an address",
          description: "A block that is there already is replaced. Addresses in guard.allow are never refused.",
        },
      },
    )
    .delete(
      "/:ip",
      ({ params, set }) => {
        if (!guard.unblock(read(params.ip, "ip"))) throw notFound("block", params.ip);
        set.status = 204;
      },
      { params: ByIp, detail: { summary: "Unblock an address" } },
    );
