// Writes docs/reference from what the program itself knows: the schema, the commands, the codes, the metrics, the log's fields.
// `bun run docs` writes; `--check` only compares, for the tests. A page is never edited by hand.
import { mkdirSync } from "node:fs";
import { join, resolve } from "node:path";
import { helpOf } from "../src/cli/arguments.ts";
import { SHOWN } from "../src/cli/program.ts";
import { loadConfig } from "../src/config/load.ts";
import { Config } from "../src/config/schema.ts";
import { openGateway } from "../src/gateway/open.ts";
import { openScope } from "../src/gateway/scope.ts";
import { CODES, type ProblemCode } from "../src/http/problem.ts";
import { REQUEST_FIELDS } from "../src/telemetry/log-fields.ts";
import { systemClock } from "../src/values/clock.ts";
import { EVENT_NAMES, EVENT_TYPES } from "../src/webhooks/event-types.ts";
import { PROBLEM_HELP } from "./problem-help.ts";

const FOLDER = resolve(import.meta.dir, "../docs/reference");
const MADE = "<!-- Made by `bun run docs` from the program itself: change it there. -->\n";

interface Schema {
  readonly type?: string;
  readonly const?: unknown;
  readonly enum?: readonly unknown[];
  readonly anyOf?: readonly Schema[];
  readonly items?: Schema;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly patternProperties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly default?: unknown;
  readonly description?: string;
  readonly expects?: string;
  readonly examples?: readonly unknown[];
  readonly minimum?: number;
  readonly maximum?: number;
  readonly maxItems?: number;
}

/** A cell of a table: one line, no bars. */
const cell = (text: string): string => text.replaceAll("|", "\\|").replaceAll("\n", " ");
const code = (value: unknown): string => `\`${cell(JSON.stringify(value))}\``;

/** What may stand in a field, in words. */
function kindOf(schema: Schema): string {
  if (schema.const !== undefined) return code(schema.const);
  if (schema.enum !== undefined) return schema.enum.map(code).join(", ");
  if (schema.anyOf !== undefined) return [...new Set(schema.anyOf.map(kindOf))].join(" or ");
  if (schema.expects !== undefined) return cell(schema.expects);
  switch (schema.type) {
    case "integer":
    case "number":
      return `${schema.type}${schema.minimum !== undefined && schema.maximum !== undefined ? `, ${schema.minimum} to ${schema.maximum}` : ""}`;
    case "array":
      return `list of ${schema.items === undefined ? "anything" : kindOf(schema.items)}${schema.maxItems === undefined ? "" : `, at most ${schema.maxItems}`}`;
    case "object":
      return schema.properties === undefined ? "object by name" : "object";
    default:
      return schema.type ?? "anything";
  }
}

/** The objects inside a field, each with what is put behind the field's path to name it. */
function inside(schema: Schema): { readonly more: string; readonly schema: Schema }[] {
  if (schema.properties !== undefined) return [{ more: "", schema }];
  if (schema.patternProperties !== undefined)
    return Object.values(schema.patternProperties).flatMap((each) =>
      inside(each).map((found) => ({ ...found, more: `.NAME${found.more}` })),
    );
  // Objects that differ by their type are told apart by it: `sinks[kafka]`.
  if (schema.items !== undefined)
    return inside(schema.items).map((found) => ({ ...found, more: `[${found.schema.properties?.type?.const ?? ""}]${found.more}` }));
  return (schema.anyOf ?? []).flatMap(inside);
}

function sections(path: string, schema: Schema, depth: number): string {
  let text = "";
  const fields = Object.entries(schema.properties ?? {});
  text += "| field | what it takes | default | what it does |\n| --- | --- | --- | --- |\n";
  for (const [name, field] of fields) {
    const isRequired = schema.required?.includes(name) === true && field.default === undefined;
    const standard =
      field.default === undefined ? (isRequired ? "**required**" : "") : isLong(field.default) ? "see below" : code(field.default);
    text += `| <a id="${idOf(join2(path, name))}"></a>\`${name}\` | ${kindOf(field)} | ${standard} | ${cell(field.description ?? "")}${exampleOf(field)} |\n`;
  }
  text += "\n";
  for (const [name, field] of fields) {
    const deps = inside(field);
    const seen = new Set<string>();
    for (const { more, schema: part } of deps) {
      const at = `${join2(path, name)}${more}`;
      // One object in several forms (alone, or as a list) is told once.
      const key = JSON.stringify(part.properties);
      if (seen.has(key)) continue;
      seen.add(key);
      text += `${"#".repeat(Math.min(5, depth + 1))} ${at}\n\n${part.description ?? ""}\n\n`;
      if (isLong(field.default)) text += `By default:\n\n\`\`\`text\n${JSON.stringify(field.default, null, 2)}\n\`\`\`\n\n`;
      text += sections(at, part, depth + 1);
    }
  }
  return text;
}

const join2 = (path: string, name: string): string => (path === "" ? name : `${path}.${name}`);
const idOf = (path: string): string => path.replaceAll("[]", "").replace(/\[(\w+)\]/g, ".$1");
const isLong = (value: unknown): boolean => value !== undefined && JSON.stringify(value).length > 60;
const exampleOf = ({ examples }: Schema): string =>
  examples === undefined || examples.length === 0 ? "" : ` For example ${examples.slice(0, 2).map(code).join(", ")}.`;

function configuration(): string {
  return `${MADE}# Configuration

Every field of \`config.json\`, with its default. Durations are written \`"250ms"\`, \`"30s"\`, \`"5m"\`, \`"1h"\`, \`"30d"\`, sizes \`"64kb"\`, \`"10mb"\`.
\`"\${NAME}"\` in a string is replaced from the environment. \`sluice schema\` prints this as JSON Schema for your editor, \`sluice check\` finds mistakes.

${sections("", Config as unknown as Schema, 1)}`.trimEnd();
}

function commands(): string {
  const each = SHOWN.map((command) => `## sluice ${command.name}\n\n\`\`\`text\n${helpOf(command).trimEnd()}\n\`\`\`\n`);
  return `${MADE}# Commands

\`sluice\` alone serves. Every command has \`--help\`; an unknown command or flag ends with 2 and a hint. Commands that talk to a running gateway
take \`SLUICE_URL\` and \`SLUICE_ADMIN_TOKEN\`, or \`--url\` and \`--token\`.

${each.join("\n")}`.trimEnd();
}

function errors(): string {
  const rows = Object.entries(CODES)
    .sort(([, a], [, b]) => a.status - b.status)
    .map(([name, { status, title }]) => {
      const { meaning, who, fix } = PROBLEM_HELP[name as ProblemCode];
      return `| <a id="${name}"></a>\`${name}\` | ${status} | ${cell(title)} | ${cell(meaning)} | ${cell(who)} | ${cell(fix)} |`;
    });
  return `${MADE}# Error codes

Every error that Sluice makes is \`application/problem+json\` (RFC 9457; on routes of [tool servers](../guides/tools.md) \`application/json\`) with \`type\`, \`title\`, \`status\`, \`detail\`, \`code\` and \`requestId\`. Tell errors apart by \`code\`.
\`type\` is \`urn:sluice:problem:CODE\`, or leads to a page of whoever runs the API: \`"problemBase": "https://errors.example.com"\` makes it \`https://errors.example.com/CODE\`. A 429 by a limit, a quota or a block has a registered type: \`https://iana.org/assignments/http-problem-types#…\`.
A backend's own errors pass through untouched and have none of these.

| code | status | title | what it means | who acts | what to do |
| --- | --- | --- | --- | --- | --- |
${rows.join("\n")}`;
}

async function metrics(): Promise<string> {
  const loaded = loadConfig(
    JSON.stringify({
      server: { host: "127.0.0.1" },
      activities: { path: ":memory:" },
      pools: { p: { keys: [{ id: "k", limit: 1, window: "1m" }] } },
      webhooks: [{ url: "http://127.0.0.1:1", secret: `whsec_${"A".repeat(32)}`, events: ["block.made"] }],
      routes: [{ name: "r", path: "/", upstream: "http://127.0.0.1:1", auth: "none", cache: {}, authorize: { url: "http://127.0.0.1:1" } }],
    }),
    {},
  );
  if ("faults" in loaded) throw new Error(JSON.stringify(loaded.faults));
  const scope = openScope((error) => {
    throw error;
  });
  const gateway = openGateway(scope, {
    config: loaded.config,
    file: null,
    databasePath: ":memory:",
    adminToken: "a-token-for-the-reference",
    clock: systemClock,
    log: null,
    onFault: (error) => {
      throw error;
    },
  });
  const { body } = await gateway.metrics(null);
  await scope.close();
  const found = new Map<string, { help: string; type: string; labels: Set<string> }>();
  for (const line of body.split("\n")) {
    const [, what, name = "", text = ""] = /^# (HELP|TYPE) (\S+) (.*)$/.exec(line) ?? [];
    if (what === "HELP") found.set(name, { help: text, type: "", labels: new Set() });
    else if (what === "TYPE") {
      const family = found.get(name);
      if (family !== undefined) family.type = text;
    } else {
      const [, series = "", labels = ""] = /^(\w+)(?:\{(.*)\})? /.exec(line) ?? [];
      const family = found.get(series) ?? found.get(series.replace(/_(bucket|sum|count|total)$/, ""));
      for (const [, label = ""] of labels.matchAll(/(\w+)="/g)) family?.labels.add(label);
    }
  }
  const rows = [...found]
    .sort(([a], [b]) => a.localeCompare(b))
    .map(
      ([name, { help, type, labels }]) =>
        `| \`${name}\` | ${type} | ${[...labels].map((label) => `\`${label}\``).join(", ")} | ${cell(help)} |`,
    );
  return `${MADE}# Metrics

\`GET /metrics\` in Prometheus' format (OpenMetrics with exemplars for scrapers that ask for it). It answers programs on this machine and holders of an admin token.
Labels hold names of the configuration, never a path, a key or an address of a caller. Labels of series that have no value yet are left out here.

| metric | type | labels | what it tells |
| --- | --- | --- | --- |
${rows.join("\n")}`;
}

function logs(): string {
  const rows = Object.entries(REQUEST_FIELDS).map(([name, what]) => `| \`${name}\` | ${cell(what)} |`);
  return `${MADE}# Log fields

One JSON object a line on stdout. A request has one line, at \`info\`, or at \`error\` where the answer was 5xx. Other lines tell of events (\`msg\` says which) with fields of their own.

| field | what it is |
| --- | --- |
${rows.join("\n")}`;
}

function events(): string {
  const each = EVENT_NAMES.map((name) => {
    const { summary, data, sample } = EVENT_TYPES[name];
    const rows = Object.entries(data.properties as Readonly<Record<string, Schema>>).map(
      ([field, schema]) => `| \`${field}\` | ${kindOf(schema)} | ${cell(schema.description ?? "")} |`,
    );
    const body = JSON.stringify({ type: name, timestamp: "2026-11-29T12:00:00.000Z", data: sample }, null, 2);
    return `## ${name}\n\n${summary}\n\n| field of \`data\` | what it is | |\n| --- | --- | --- |\n${rows.join("\n")}\n\n\`\`\`text\n${body}\n\`\`\`\n`;
  });
  return `${MADE}# Events of webhooks

What [webhooks](../guides/webhooks.md) are told. Each body is \`{ "type", "timestamp", "data" }\`: \`timestamp\` is when it happened, RFC 3339, and \`data\` is as below. Later versions may add fields and types.

${each.join("\n")}`;
}

/** The pages by their names. */
export async function reference(): Promise<Record<string, string>> {
  const pages = {
    "configuration.md": configuration(),
    "commands.md": commands(),
    "errors.md": errors(),
    "metrics.md": await metrics(),
    "logs.md": logs(),
    "events.md": events(),
  };
  return Object.fromEntries(Object.entries(pages).map(([name, text]) => [name, `${text.trimEnd()}\n`]));
}

if (import.meta.main) {
  mkdirSync(FOLDER, { recursive: true });
  for (const [name, text] of Object.entries(await reference())) await Bun.write(join(FOLDER, name), text);
  console.log(`written: ${FOLDER}`);
  process.exit(0);
}
