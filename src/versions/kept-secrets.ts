import type { TSchema } from "@sinclair/typebox";
import type { Path } from "../schema/faults.ts";
import { mapSecrets } from "../schema/secrets.ts";
import { isObject } from "../values/json.ts";

/** The field that stands alone in an object in a secret's place: the gateway keeps the secret of this name. */
export const KEPT = "$kept";

/** Names a secret by the document that it is in, and by the ids on the way to it, as in "pools.openai.k1". */
function nameOf(root: string, document: unknown, path: Path): string {
  const ids: string[] = [];
  let here: unknown = document;
  for (const step of path) {
    here = (here as Record<string | number, unknown>)[step];
    if (typeof step === "number") ids.push(isObject(here) && typeof here.id === "string" ? here.id : String(step));
  }
  return [root, ...(ids.length > 0 ? ids : path)].join(".");
}

/** Gives a document with names in the place of its secrets. `root`: what their names begin with; `see`: learns each secret by its name. */
export function withNames(
  schema: TSchema,
  document: unknown,
  root: string,
  see: (name: string, secret: string) => void = () => {},
): unknown {
  const copy = structuredClone(document);
  const named: [path: Path, name: string][] = [];
  mapSecrets(schema, document, (secret, _, path) => {
    const name = nameOf(root, document, path);
    named.push([path, name]);
    see(name, secret);
    return secret;
  });
  for (const [path, name] of named) put(copy, path, { [KEPT]: name });
  return copy;
}

/** Gives a document with the secrets in the place of their names. `lacking` learns the names of which there are none. */
export function withSecrets(
  value: unknown,
  secretOf: (name: string) => string | undefined,
  lacking: (path: Path, name: string) => void,
  path: Path = [],
): unknown {
  if (Array.isArray(value)) return value.map((each, i) => withSecrets(each, secretOf, lacking, [...path, i]));
  if (!isObject(value)) return value;
  const { [KEPT]: name, ...others } = value;
  if (typeof name === "string" && Object.keys(others).length === 0) {
    const secret = secretOf(name);
    if (secret === undefined) lacking(path, name);
    return secret ?? "";
  }
  return Object.fromEntries(Object.entries(value).map(([field, each]) => [field, withSecrets(each, secretOf, lacking, [...path, field])]));
}

function put(root: unknown, path: Path, value: unknown): void {
  const last = path.at(-1);
  const holder = path.slice(0, -1).reduce<unknown>((here, step) => (here as Record<string | number, unknown>)[step], root);
  if (last !== undefined) (holder as Record<string | number, unknown>)[last] = value;
}
