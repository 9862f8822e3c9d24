import { type Static, Type } from "@sinclair/typebox";
import type { Fault, Path } from "../schema/faults.ts";
import { FIELD_NAME, Shape } from "../schema/fields.ts";
import { isOwnField } from "./settings.ts";

/** The most characters of an answer's body: it is held in memory for each route. */
const MAX_BODY = 65_536;

/** The words in braces that a Location may hold, and what each stands for. */
export const LOCATION_WORDS = ["host", "path", "rest", "query"] as const;
export type LocationWord = (typeof LOCATION_WORDS)[number];

export const RespondConfig = Shape(
  {
    status: Type.Integer({ minimum: 200, maximum: 599, default: 200, description: "The answer's status.", examples: [503] }),
    headers: Type.Record(
      Type.String({ pattern: FIELD_NAME }),
      Type.String({ pattern: "^[\\x20-\\x7e\\t\\x80-\\xff]{0,4096}$", expects: "a header's value in one line" }),
      {
        additionalProperties: false,
        default: {},
        description:
          "Its header fields. A Location may hold {host}, {path}, {rest} (the path below the route's) and {query} (with its ?) of the request.",
        secretNames: "auth|cookie|token|secret|password|key|credential",
        examples: [{ "Retry-After": "3600" }],
      },
    ),
    body: Type.Union(
      [
        Type.String({ maxLength: MAX_BODY }),
        Type.Object({}, { additionalProperties: true }),
        Type.Array(Type.Unknown(), { maxItems: 1000 }),
        Type.Null(),
      ],
      {
        default: null,
        description:
          "Its body: a text is sent as text/plain, an object or a list as application/json, each unless headers name a Content-Type. null: none.",
        expects: "text, an object, a list or null",
      },
    ),
  },
  "An answer that is always the same.",
);
export type RespondConfig = Static<typeof RespondConfig>;

/** Statuses whose answers have no body (RFC 9110 §15.3.5, §15.3.6, §15.4.5). */
const BODILESS: readonly number[] = [204, 205, 304];

/** Redirects, which are nothing without a place to go to. */
export const REDIRECTS: readonly number[] = [301, 302, 303, 307, 308];

/** Gives the faults of an answer that its schema can't express. Their paths begin with `at`. */
export function respondFaults({ status, headers, body }: RespondConfig, at: Path): Fault[] {
  const faults: Fault[] = [];
  const say = (path: Path, message: string, isOfName?: true) =>
    faults.push({ path: [...at, ...path], message, ...(isOfName === undefined ? {} : { isOfName }) });
  if (body !== null && BODILESS.includes(status)) say(["body"], `must be left out: an answer with the status ${status} has none`);
  if (body !== null && typeof body !== "string" && JSON.stringify(body).length > MAX_BODY)
    say(["body"], `must have at most ${MAX_BODY} characters as JSON`);
  const seen = new Set<string>();
  for (const [name, value] of Object.entries(headers)) {
    const lower = name.toLowerCase();
    if (isOwnField(name, "response") || lower === "date") say(["headers", name], "is Sluice's own to set", true);
    if (seen.has(lower)) say(["headers", name], "stands here twice", true);
    seen.add(lower);
    const fault = lower === "location" ? locationFault(value) : null;
    if (fault !== null) say(["headers", name], fault);
  }
  if (REDIRECTS.includes(status) && !seen.has("location"))
    say(["status"], `is a redirect: say where to, "headers": { "Location": "https://new.example.com{path}{query}" }`);
  return faults;
}

/** Finds slashes, behind a scheme or not, with a path right after them: browsers read what follows as a host. A {query} may be empty. */
const NO_HOST_BEFORE = /^(?:[a-z][a-z0-9+.-]*:\/*|\/+)(?:\{query\})*\{(?:path|rest)\}/i;

/** Tells what is wrong with the template of a Location; `null` when nothing is. */
function locationFault(value: string): string | null {
  const known = LOCATION_WORDS.map((word) => `{${word}}`).join(", ");
  for (const [whole, word] of value.matchAll(/\{([^{}]*)\}?|\}/g))
    if (word === undefined || !whole.endsWith("}") || !(LOCATION_WORDS as readonly string[]).includes(word))
      return `must hold no ${JSON.stringify(whole)}: what is replaced is ${known}; write other braces as %7B and %7D`;
  const bare = value.replace(/\{[^}]*\}/g, "");
  if (bare !== "" && !/^[!-~]+$/.test(bare)) return "must be an address in printable ASCII without spaces";
  // A host of its own choice before what its caller has sent would be anybody's.
  if (value === "" || /^\{(?:rest|host|query)\}/.test(value))
    return 'must begin with a scheme, "/" or {path}, as in "https://new.example.com{path}{query}"';
  if (NO_HOST_BEFORE.test(value))
    return 'must not have "/" or a bare scheme before {path} or {rest}, which begin with "/": what the caller has sent would be the host';
  return null;
}
