// Takes fields out of JSON answers that a caller has no scope for, wherever they stand in it.
//
//   "plugins": [{ "file": "./plugins/hide-fields.ts", "options": { "fields": { "email": "users:email", "iban": "users:bank" } } }]
//
// The cache may keep the whole answer: this runs for each caller, hits included.
import type { Plugin } from "sluice";

interface Options {
  /** The scope that a caller needs to see a field, by the field's name. */
  readonly fields: Readonly<Record<string, string>>;
}

let scopes: ReadonlyMap<string, string> = new Map();

export default {
  name: "hide-fields",

  setup({ fields }) {
    scopes = new Map(Object.entries(fields));
  },

  request(request) {
    // A part of a JSON text can't be read, so nobody gets one.
    request.headers.delete("Range");
  },

  async response(response, { caller }) {
    const hidden = new Set([...scopes].filter(([, scope]) => !caller?.scopes.includes(scope)).map(([field]) => field));
    // What this says differs from caller to caller: no cache outside may keep it for others.
    response.headers.set("Cache-Control", "private");
    const isJson = /^application\/([\w.-]+\+)?json\b/i.test(response.headers.get("content-type") ?? "");
    if (hidden.size === 0 || !isJson || response.body === null) return undefined;
    // Text that is no JSON throws, and the caller gets 500 in its place: better than a field too many.
    const shown = without(await response.json(), hidden);
    response.headers.delete("ETag");
    return Response.json(shown, response);
  },
} satisfies Plugin<Options>;

function without(value: unknown, hidden: ReadonlySet<string>): unknown {
  if (Array.isArray(value)) return value.map((each) => without(each, hidden));
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([name]) => !hidden.has(name))
      .map(([name, child]) => [name, without(child, hidden)]),
  );
}
