import { EVENT_NAMES } from "../webhooks/event-types.ts";
import type { Command, Input } from "./arguments.ts";
import { act, ask, askAll, listOf, queryOf, REMOTE_FLAGS, required, show, showSecret, table, text } from "./remote.ts";
import { pathOf, recordActions, WEBHOOKS } from "./resources.ts";

/** Milliseconds that a test may take: a receiver has 15 s. */
const TEST_WITHIN = 30_000;

const path = (name: string | undefined): string => pathOf(WEBHOOKS, name);

/** Gives the fields of a webhook that were given as flags. */
const fieldsIn = (input: Input): object => ({
  url: text(input, "to"),
  secret: text(input, "secret"),
  events: listOf(text(input, "events")),
});

const WORDS = "webhooks list|create|get|update|rotate|delete|test|deliveries|redeliver";

export const webhooks: Command = {
  name: "webhooks",
  usage:
    "webhooks list | create NAME --to URL --events A,B | get NAME | rotate NAME | delete NAME | test NAME | deliveries NAME | redeliver ID",
  summary:
    "Lists, creates, changes and deletes webhooks of a running gateway, sends samples, and shows or repeats deliveries. A secret that is made is printed once.",
  flags: [
    ...REMOTE_FLAGS,
    { name: "to", value: "URL", help: "where its events are posted to" },
    { name: "events", value: "A,B", help: "the types of events that it gets, or *" },
    { name: "secret", value: "SECRET", help: "what its events are signed with (whsec_…); left out: one is made" },
    { name: "enabled", value: "BOOL", help: "in update: true or false" },
    { name: "event", value: "TYPE", help: `in test: ${EVENT_NAMES.slice(0, 3).join(", ")} and so on; key.created by default` },
    { name: "state", value: "STATE", help: "in deliveries: only those that are waiting, delivered or failed" },
    { name: "quiet", help: "print the new secret alone" },
  ],
  actions: ["list", "create", "get", "update", "rotate", "delete", "test", "deliveries", "redeliver"],
  positionals: 2,
  run: (input) => act(input, WORDS, { ...ofRecords(input), ...ofDeliveries(input) }),
};

type Actions = Readonly<Record<string, (id: string | undefined) => Promise<unknown>>>;

const ofRecords = (input: Input): Actions => ({
  ...recordActions(input, WEBHOOKS),
  create: async (name) => {
    const made = await ask<{ secret: string }>(input, "POST", "/admin/webhooks", { name: required(name, "a name"), ...fieldsIn(input) });
    // One that was given is known already.
    if (text(input, "secret") === undefined) showSecret(input, made, "secret");
    else show(input, made);
  },
  update: async (name) => {
    const enabled = text(input, "enabled");
    const change = { ...fieldsIn(input), ...(enabled === undefined ? {} : { enabled: enabled === "true" }) };
    show(input, await ask(input, "PATCH", path(name), change));
  },
  rotate: async (name) => showSecret(input, await ask(input, "POST", `${path(name)}/rotate`, {}), "secret"),
});

const ofDeliveries = (input: Input): Actions => ({
  test: async (name) => {
    const event = text(input, "event");
    const result = await ask<{ delivered: boolean }>(
      input,
      "POST",
      `${path(name)}/test`,
      event === undefined ? {} : { event },
      TEST_WITHIN,
    );
    show(input, result);
    return result.delivered ? 0 : 1;
  },
  deliveries: async (name) =>
    table(input, await askAll(input, `${path(name)}/deliveries?${queryOf(input, ["state"])}`), [
      ...["id", "type", "state", "tries", "createdAt", "nextAt", "status", "error"],
    ]),
  redeliver: async (id) =>
    show(input, await ask(input, "POST", `/admin/webhooks/deliveries/${encodeURIComponent(required(id, "a delivery's id"))}/redeliver`)),
});
