import { type DocumentKind, type KindPath, withArticle } from "../records/kinds.ts";
import { print } from "../telemetry/stdout.ts";
import { type Command, type Flag, type Input, UsageError } from "./arguments.ts";
import { dollars } from "./models.ts";
import { FILE, recordIn } from "./record-file.ts";
import {
  act,
  ask,
  askAll,
  askRaw,
  listedByItself,
  listOf,
  queryOf,
  REMOTE_FLAGS,
  required,
  show,
  showSecret,
  table,
  text,
} from "./remote.ts";

/** Describes a kind of named records that the admin API makes, changes and deletes alike. */
interface Kind {
  readonly plural: KindPath;
  readonly singular: DocumentKind;
  /** The fields that a list shows of each record. */
  readonly columns: readonly string[];
}

const FORCE: Flag = { name: "force", help: "delete it though others use it" };

/** Gives the words of the actions that a command knows, for its help and for completion. */
const actionsOf = (kind: Kind): string[] => ["list", "get", "create", "update", "delete"].map((action) => `${action} ${kind.plural}`);

/** Makes the command of one kind: list, get, create, update, delete. */
function commandOf(kind: Kind): Command {
  const { plural } = kind;
  return {
    name: plural,
    usage: `${plural} list | get NAME | create NAME --file FILE | update NAME --file FILE | delete NAME`,
    summary: `Lists, shows, creates, changes and deletes ${plural} of a running gateway. What the configuration file declares is changed there.`,
    flags: [...REMOTE_FLAGS, FILE, FORCE],
    actions: actionsOf(kind).map((each) => each.split(" ")[0] ?? ""),
    positionals: 2,
    run: (input) => act(input, `${plural} list|get|create|update|delete`, recordActions(input, kind)),
  };
}

/** Gives the path of the record of this name. Throws `UsageError` where there is no name. */
export const pathOf = ({ plural, singular }: Kind, name: string | undefined): string =>
  `/admin/${plural}/${encodeURIComponent(required(name, `${withArticle(singular)}'s name`))}`;

/** Gives what can be done with the records of a kind. */
export function recordActions(input: Input, kind: Kind): Readonly<Record<string, (id: string | undefined) => Promise<unknown>>> {
  const { plural, columns } = kind;
  const path = (id: string | undefined): string => pathOf(kind, id);
  return {
    list: async () => table(input, await askAll(input, `/admin/${plural}`), columns),
    get: async (id) => show(input, await ask(input, "GET", path(id))),
    create: async (id) => show(input, await ask(input, "POST", `/admin/${plural}`, { name: required(id, "a name"), ...recordIn(input) })),
    update: async (id) => show(input, await ask(input, "PATCH", path(id), recordIn(input))),
    delete: async (id) => {
      await ask(input, "DELETE", `${path(id)}${input.flags.force === true ? "?force=true" : ""}`);
      print(input.flags.json === true ? "{}\n" : `${id} is deleted\n`);
    },
  };
}

export const tiers = commandOf({ plural: "tiers", singular: "tier", columns: ["name", "source", "limits", "quota"] });
export const upstreams = commandOf({ plural: "upstreams", singular: "upstream", columns: ["name", "source", "targets", "balance"] });
export const pools = commandOf({ plural: "pools", singular: "pool", columns: ["name", "source", "strategy", "state"] });
export const issuers = commandOf({ plural: "issuers", singular: "issuer", columns: ["name", "source", "issuer", "audience"] });
export const WEBHOOKS: Kind = {
  plural: "webhooks",
  singular: "webhook",
  columns: ["name", "url", "events", "enabled", "source", "state"],
};
export const ROUTES: Kind = {
  plural: "routes",
  singular: "route",
  columns: ["name", "path", "methods", "upstream", "auth", "tiers", "scopes", "source"],
};
export const ROUTE_FLAGS: readonly Flag[] = [FILE, FORCE];

export const blocks: Command = {
  name: "blocks",
  usage: "blocks list | create ADDRESS | delete ADDRESS",
  summary: "Lists, creates and lifts blocks of addresses of a running gateway.",
  flags: [
    ...REMOTE_FLAGS,
    { name: "reason", value: "TEXT", help: "why" },
    { name: "ttl", value: "DURATION", help: "after this it ends by itself, as in 15m" },
  ],
  actions: ["list", "create", "delete"],
  positionals: 2,
  run: (input) =>
    act(input, "blocks list|create|delete", {
      list: async () => table(input, await askAll(input, "/admin/blocks"), ["ip", "reason", "by", "createdAt", "expiresAt"]),
      create: async (ip) =>
        show(
          input,
          await ask(input, "POST", "/admin/blocks", {
            ip: required(ip, "an address"),
            reason: text(input, "reason"),
            ttl: text(input, "ttl"),
          }),
        ),
      delete: async (ip) => {
        await ask(input, "DELETE", `/admin/blocks/${encodeURIComponent(required(ip, "an address"))}`);
        print(input.flags.json === true ? "{}\n" : `${ip} is no longer blocked\n`);
      },
    }),
};

const USAGE_FLAGS = ["consumer", "key", "route", "model", "tool", "from", "to", "by", "per"] as const;

/** The column of money, whose heading says the unit. */
const COST = "cost ($)";

export const usage: Command = {
  name: "usage",
  usage: "usage [list] [--by consumer,model] [--per hour|day]",
  summary:
    "Lists what a running gateway has counted: requests, errors, refusals, tokens and dollars. The last day, unless --from says otherwise.",
  flags: [
    ...REMOTE_FLAGS,
    { name: "consumer", value: "ID", help: "only this consumer's" },
    { name: "key", value: "ID", help: "only this key's" },
    { name: "route", value: "NAME", help: "only this route's" },
    { name: "model", value: "NAME", help: "only calls of this model" },
    { name: "tool", value: "NAME", help: "only calls of this tool" },
    { name: "from", value: "TIME", help: "from the hour of this time on, as in 2026-11-21T00:00:00Z" },
    { name: "to", value: "TIME", help: "before this time" },
    { name: "by", value: "A,B", help: "what is told apart: consumer, key, route, model, tool" },
    { name: "per", value: "SPAN", help: "a row for each hour or day (UTC)" },
  ],
  actions: ["list"],
  positionals: 1,
  run: (input) =>
    act(listedByItself(input), "usage list", {
      list: async () => {
        const by = listOf(text(input, "by")) ?? [];
        const columns = [...(text(input, "per") === undefined ? [] : ["time"]), ...by, "requests", "errors", "limited", "tokens", COST];
        const rows = await askAll(input, `/admin/usage?${queryOf(input, USAGE_FLAGS)}`);
        table(input, input.flags.json === true ? rows : rows.map((each) => ({ ...each, [COST]: dollars(each.cost) })), columns);
      },
    }),
};

/** Gives a limit as a table shows it: money without exponents. */
const shownLimit = (limit: Readonly<Record<string, unknown>>): Record<string, unknown> =>
  limit.unit === "usd"
    ? { ...limit, limit: dollars(limit.limit), used: dollars(limit.used), remaining: dollars(limit.remaining) }
    : { ...limit };

export const limits: Command = {
  name: "limits",
  usage: "limits get CONSUMER | reset CONSUMER",
  summary: "Shows what is left of a consumer's limits on a running gateway, or begins them anew.",
  flags: REMOTE_FLAGS,
  actions: ["get", "reset"],
  positionals: 2,
  run: (input) => {
    const path = (id: string | undefined): string => `/admin/limits/${encodeURIComponent(required(id, "a consumer's id"))}`;
    return act(input, "limits get|reset", {
      get: async (id) => {
        const found = await ask<{ limits: Record<string, unknown>[] }>(input, "GET", path(id));
        if (input.flags.json === true) print(`${JSON.stringify(found)}\n`);
        else table(input, found.limits.map(shownLimit), ["name", "scope", "subject", "unit", "limit", "used", "remaining", "reset"]);
      },
      reset: async (id) => {
        await askRaw(input, "DELETE", path(id));
        print(input.flags.json === true ? "{}\n" : `the limits of ${id} begin anew\n`);
      },
    });
  },
};

export const tokens: Command = {
  name: "tokens",
  usage: "tokens list | create NAME --role viewer|operator|admin | revoke ID",
  summary: "Lists, creates and revokes admin tokens of a running gateway. A token is printed once.",
  flags: [
    ...REMOTE_FLAGS,
    { name: "role", value: "ROLE", help: "viewer looks, operator runs the gateway, admin changes everything" },
    { name: "quiet", help: "print the new token alone" },
  ],
  actions: ["list", "create", "revoke"],
  positionals: 2,
  run: (input) =>
    act(input, "tokens list|create|revoke", {
      list: async () => table(input, await askAll(input, "/admin/tokens"), ["id", "name", "role", "createdAt", "lastUsedAt"]),
      create: async (name) =>
        showSecret(
          input,
          await ask(input, "POST", "/admin/tokens", { name: required(name, "a name"), role: required(text(input, "role"), "--role ROLE") }),
          "token",
        ),
      revoke: async (id) => {
        await ask(input, "DELETE", `/admin/tokens/${encodeURIComponent(required(id, "a token's id"))}`);
        print(input.flags.json === true ? "{}\n" : `${id} is revoked\n`);
      },
    }),
};

export const certificates: Command = {
  name: "certificates",
  usage: "certificates list",
  summary:
    "Lists the certificates that a running gateway serves https with, until when each is valid, and what is wrong. Exit status 1 where something is.",
  flags: REMOTE_FLAGS,
  actions: ["list"],
  positionals: 1,
  run: (input) =>
    act(input, "certificates list", {
      list: async () => {
        const { items } = await ask<{ items: Record<string, unknown>[] }>(input, "GET", "/admin/certificates");
        table(input, items, ["names", "source", "place", "endsAt", "renewsAt", "trouble"]);
        return items.some(({ trouble }) => trouble !== null) ? 1 : 0;
      },
    }),
};

export const breakers: Command = {
  name: "breakers",
  usage: "breakers list | open TARGET | close TARGET",
  summary: "Lists, opens and closes circuit breakers of a running gateway. One that was opened by hand stays open until it is closed.",
  flags: REMOTE_FLAGS,
  actions: ["list", "open", "close"],
  positionals: 2,
  run: (input) => {
    const set = (how: "open" | "close") => async (target: string | undefined) =>
      show(input, await ask(input, "POST", `/admin/breakers/${encodeURIComponent(required(target, "a target's URL"))}/${how}`));
    return act(input, "breakers list|open|close", {
      list: async () => {
        const { items } = await ask<{ items: Record<string, unknown>[] }>(input, "GET", "/admin/breakers");
        table(input, items, ["upstream", "target", "state", "held", "healthy", "failures", "inFlight", "since", "retryAfter"]);
      },
      open: set("open"),
      close: set("close"),
    });
  },
};

export const cache: Command = {
  name: "cache",
  usage: "cache get | purge [--route NAME] [--prefix PATH]",
  summary: "Shows what the cache of a running gateway holds, or purges it: all of it, a route's, or what is below a path.",
  flags: [
    ...REMOTE_FLAGS,
    { name: "route", value: "NAME", help: "only this route's responses" },
    { name: "prefix", value: "PATH", help: "only responses whose path begins so" },
  ],
  actions: ["get", "purge"],
  positionals: 1,
  run: (input) =>
    act(input, "cache get|purge", {
      get: async () => show(input, await ask(input, "GET", "/admin/cache")),
      purge: async () => show(input, await ask(input, "DELETE", `/admin/cache?${queryOf(input, ["route", "prefix"])}`)),
    }),
};

const ACTIVITIES_FLAGS: readonly Flag[] = [
  ...REMOTE_FLAGS,
  { name: "sink", value: "NAME", help: "what failed in this sink, or try it again there alone" },
];

export const activities: Command = {
  name: "activities",
  usage: "activities get | list | replay ID",
  summary: "Shows the state of queue and sinks of a running gateway, lists the activities that failed, and tries them again.",
  flags: ACTIVITIES_FLAGS,
  actions: ["get", "list", "replay"],
  positionals: 2,
  run: (input) => {
    const query = queryOf(input, ["sink"]);
    return act(input, "activities get|list|replay", {
      get: async () => {
        const {
          items: _,
          itemsTrouble: __,
          nextCursor: ___,
          ...state
        } = await ask<Record<string, unknown>>(input, "GET", `/admin/activities?${query}`);
        show(input, state);
      },
      list: async () => table(input, await askAll(input, `/admin/activities?${query}`), ["id", "state", "createdAt", "error", "payload"]),
      replay: async (id) => {
        const { replayed } = await ask<{ replayed: number }>(
          input,
          "POST",
          `/admin/activities/${encodeURIComponent(required(id, "an activity's or a batch's id"))}/replay?${query}`,
        );
        if (input.flags.json === true) show(input, { replayed });
        else print(`${replayed} will be tried again\n`);
      },
    });
  },
};

export const logging: Command = {
  name: "logging",
  usage: "logging get | set [--level LEVEL] [--sample SHARE] [--access-log on|off] [--ttl DURATION] | reset",
  summary: "Shows or changes the log's settings of a running gateway; reset goes back to the configuration's.",
  flags: [
    ...REMOTE_FLAGS,
    { name: "level", value: "LEVEL", help: "the least severe lines that are written, as in debug" },
    { name: "sample", value: "SHARE", help: "the share of requests with a status below 400 that get a line, 0 to 1" },
    { name: "access-log", value: "on|off", help: "a line for each request, or none" },
    { name: "ttl", value: "DURATION", help: "after this the configuration's settings hold again, as in 10m" },
  ],
  actions: ["get", "set", "reset"],
  positionals: 1,
  run: (input) =>
    act(input, "logging get|set|reset", {
      get: async () => show(input, await ask(input, "GET", "/admin/logging")),
      set: async () => show(input, await ask(input, "PATCH", "/admin/logging", logSettingsIn(input))),
      reset: async () => show(input, await ask(input, "DELETE", "/admin/logging")),
    }),
};

function logSettingsIn(input: Input): object {
  const [sample, accessLog] = [text(input, "sample"), text(input, "access-log")];
  if (accessLog !== undefined && accessLog !== "on" && accessLog !== "off") throw new UsageError("--access-log must be on or off");
  return {
    level: text(input, "level"),
    accessLogSample: sample === undefined ? undefined : Number(sample),
    accessLog: accessLog === undefined ? undefined : accessLog === "on",
    ttl: text(input, "ttl"),
  };
}

export const config: Command = {
  name: "config",
  usage: "config get",
  summary: "Prints the configuration that a running gateway has in force, with all defaults, as JSON. Secrets are masked.",
  flags: REMOTE_FLAGS,
  actions: ["get"],
  positionals: 1,
  run: (input) =>
    act(input, "config get", {
      get: async () => {
        const found = await ask<{ config: object }>(input, "GET", "/admin/config");
        print(input.flags.json === true ? `${JSON.stringify(found)}\n` : `${JSON.stringify(found.config, null, 2)}\n`);
      },
    }),
};

export const reload: Command = {
  name: "reload",
  usage: "reload",
  summary: "Has a running gateway read its configuration file again. With faults it keeps the one before and prints them; exit status 1.",
  flags: REMOTE_FLAGS,
  positionals: 0,
  run: (input) =>
    act({ ...input, positionals: ["reload"] }, "reload", {
      reload: async () => show(input, await ask(input, "POST", "/admin/config/reload")),
    }),
};
