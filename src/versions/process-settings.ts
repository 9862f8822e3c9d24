import type { Config } from "../config/schema.ts";
import { isUrl } from "../issuers/settings.ts";
import type { Fault, Path } from "../schema/faults.ts";
import { isObject } from "../values/json.ts";
import { variablesIn } from "./file-text.ts";

/** Settings that belong to the process and to whoever runs it: the API never changes them. */
const OF_THE_PROCESS: readonly Path[] = [["server"], ["admin"], ["storage"], ["redis"], ["plugins"], ["telemetry", "otlp"]];

/** Fields that name files of this machine, by their place: `*` is any name, `[]` any entry. Where URLs may stand as well, `isLocal` tells. */
const FILES: readonly (readonly string[])[] = [
  "backup.path",
  "activities.path",
  "activities.queue.kafka.tls.*",
  "activities.sinks.[].path",
  "activities.sinks.[].credentials",
  "activities.sinks.[].ca",
  "activities.sinks.[].tls.*",
  "issuers.*.jwks",
  "prices",
  "models.*.try.[].upstream",
  "upstreams.*.tls.ca",
  "upstreams.*.tls.cert",
  "upstreams.*.tls.key",
  "upstreams.*.targets.[].url",
  "routes.[].upstream",
  "routes.[].authorize.url",
  "routes.[].plugins.[].file",
].map((place) => place.split("."));

const NAMED_OR_URL: ReadonlySet<string> = new Set(["url", "upstream"]);

const isLocal = (field: string, value: string): boolean =>
  value.startsWith("unix:") || (!NAMED_OR_URL.has(field) && !(field === "jwks" && isUrl(value)));

interface Local {
  readonly path: Path;
  readonly value: string;
}

function localsIn(config: Config): Local[] {
  const found: Local[] = [];
  const walk = (here: unknown, [step, ...rest]: readonly string[], path: Path): void => {
    if (step === undefined) {
      if (typeof here === "string" && isLocal(String(path.at(-1)), here)) found.push({ path, value: here });
    } else if (step === "[]") {
      if (Array.isArray(here)) for (const [i, each] of here.entries()) walk(each, rest, [...path, i]);
    } else if (isObject(here))
      for (const name of step === "*" ? Object.keys(here) : [step]) if (Object.hasOwn(here, name)) walk(here[name], rest, [...path, name]);
  };
  for (const place of FILES) walk(config, place, []);
  return found;
}

const valueAt = (config: unknown, path: Path): unknown =>
  path.reduce<unknown>((here, step) => (isObject(here) ? here[String(step)] : undefined), config);

/** Gives a fault for each setting of the process that another configuration would change. */
export const processFaults = (inForce: Config, next: Config): Fault[] =>
  OF_THE_PROCESS.filter((path) => !Bun.deepEquals(valueAt(inForce, path), valueAt(next, path))).map((path) => ({
    path,
    message: "belongs to the process and can't be changed by the API: change it in the file on its machine",
  }));

/**
 * Gives a fault for each file, socket and variable of the environment that a text names and none of the texts before did: whoever may use the
 * API could have any of them read, and sent somewhere.
 */
export function foreignFaults(
  before: readonly { readonly config: Config; readonly text: string }[],
  next: { config: Config; text: string },
): Fault[] {
  const files = new Set(before.flatMap(({ config }) => localsIn(config).map(({ value }) => value)));
  const variables = new Set(before.flatMap(({ text }) => [...variablesIn(text)]));
  return [
    ...localsIn(next.config)
      .filter(({ value }) => !files.has(value))
      .map(({ path, value }) => ({
        path,
        message: `names ${JSON.stringify(value)} of this machine, which the file did not name before: that can't be done by the API`,
      })),
    ...[...variablesIn(next.text)]
      .filter((name) => !variables.has(name))
      .map((name) => ({
        path: [],
        message: `takes \${${name}} from the environment, which the file did not name before: that can't be done by the API`,
      })),
  ];
}
