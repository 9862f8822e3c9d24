import { type Static, Type } from "@sinclair/typebox";
import type { Section } from "../config/section.ts";
import { type Fault, orNearest, type Path } from "../schema/faults.ts";
import { Identifier, Shape } from "../schema/fields.ts";
import { isLoopbackHost } from "../values/ip.ts";
import { EVENT_NAMES } from "./event-types.ts";
import { isSecret, MAX_SECRETS, secretsOf } from "./signature.ts";

/** The most webhooks: each event is written down once for each. */
export const MAX_WEBHOOKS = 64;

/** What stands for all types of events, also of later versions. */
export const ALL = "*";

const properties = {
  url: Type.String({
    minLength: 1,
    maxLength: 2048,
    description: "Where events are posted to.",
    examples: ["https://hooks.example.com/sluice"],
  }),
  secret: Type.String({
    secret: true,
    maxLength: 512,
    description:
      "What events are signed with: `whsec_` and the base64 of 24 to 64 bytes. Several with a space between them, the newest first, while it is changed: each signs.",
  }),
  events: Type.Array(Type.String({ maxLength: 64 }), {
    minItems: 1,
    maxItems: 64,
    description: `The types of events that it gets: ${EVENT_NAMES.join(", ")}; or \`*\`: all.`,
    examples: [["key.expiring", "quota.100"]],
  }),
  enabled: Type.Boolean({ default: true, description: "false: nothing is sent, and what happens meanwhile is not kept for it." }),
};

export const WebhookConfig = Shape(properties, "Somebody who is told what happens.");
export type WebhookConfig = Static<typeof WebhookConfig>;

const DeclaredWebhook = Shape(
  {
    ...properties,
    name: Type.Optional(Identifier("Its name. By default the URL's host.")),
  },
  WebhookConfig.description ?? "",
  { default: {} },
);
export type DeclaredWebhook = Static<typeof DeclaredWebhook>;

/** Gives the name of a webhook. */
export function webhookNameOf({ name, url }: Pick<DeclaredWebhook, "name" | "url">): string {
  if (name !== undefined) return name;
  return URL.canParse(url) ? new URL(url).host.replace(/[[\]]/g, "") : url;
}

/** Gives what is wrong with a webhook's URL; `null` when nothing is. */
function urlFault(text: string): string | null {
  if (!URL.canParse(text)) return "is not a URL";
  const { protocol, username, password, hash } = new URL(text);
  if (protocol !== "https:" && protocol !== "http:") return "must begin with https:// or http://";
  if (username !== "" || password !== "") return "must not hold a user or a password: events are signed";
  return hash === "" ? null : "must not hold a fragment (#)";
}

/** Gives the faults of a webhook that the schema can't express. Paths begin with `at`. */
export function webhookFaults({ url, secret, events }: WebhookConfig, at: Path = []): Fault[] {
  const faults: Fault[] = [];
  const wrong = urlFault(url);
  if (wrong !== null) faults.push({ path: [...at, "url"], message: wrong });
  const secrets = secretsOf(secret);
  if (secrets.length === 0 || secrets.length > MAX_SECRETS || !secrets.every(isSecret))
    faults.push({
      path: [...at, "secret"],
      message: `must be "whsec_" and the base64 of 24 to 64 bytes (openssl rand -base64 32), or up to ${MAX_SECRETS} of these with spaces between them`,
    });
  for (const [i, name] of events.entries())
    if (name !== ALL && !(EVENT_NAMES as readonly string[]).includes(name))
      faults.push({ path: [...at, "events", i], message: `there is no event ${JSON.stringify(name)}${orNearest(name, EVENT_NAMES)}` });
    else if (events.indexOf(name) < i) faults.push({ path: [...at, "events", i], message: "stands here twice" });
  return faults;
}

const schema = Type.Array(DeclaredWebhook, {
  default: [],
  maxItems: MAX_WEBHOOKS,
  description: "Who is told what happens, by Standard Webhooks.",
});

export const webhooksSection: Section<"webhooks", typeof schema> = {
  name: "webhooks",
  schema,
  faults: (webhooks) => {
    const names = webhooks.map(webhookNameOf);
    return webhooks.flatMap((webhook, i) => [
      ...webhookFaults(webhook, ["webhooks", i]),
      ...(names.indexOf(names[i] as string) < i
        ? [{ path: ["webhooks", i, "name"], message: `is the name of another webhook (${names[i]}): give each one of its own` }]
        : []),
    ]);
  },
  warnings: (webhooks) =>
    webhooks.flatMap(({ url }, i) => {
      if (!URL.canParse(url)) return [];
      const { protocol, hostname } = new URL(url);
      return protocol === "https:" || isLoopbackHost(hostname.replace(/^\[|\]$/g, ""))
        ? []
        : [{ path: ["webhooks", i, "url"], message: "is http: whoever is on the way reads the events" }];
    }),
};
