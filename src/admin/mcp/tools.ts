import { isIdempotent, isLook } from "../../http/methods.ts";
import { KINDS } from "../../records/kinds.ts";
import { isObject } from "../../values/json.ts";
import { OPERATIONS } from "../operations.ts";
import type { Role } from "../rights.ts";

type Json = Readonly<Record<string, unknown>>;

/** Holds what tools are made of: the API's document, as far as they read it. */
export interface ToolDocument {
  readonly paths: Readonly<Record<string, Readonly<Record<string, DocumentedOperation>>>>;
  readonly components: { readonly schemas: Schemas };
}

type Schemas = Readonly<Record<string, Json>>;

interface DocumentedOperation {
  readonly operationId: string;
  readonly summary?: string;
  readonly description?: string;
  readonly parameters?: readonly {
    readonly name: string;
    readonly in: string;
    readonly required?: boolean;
    readonly description?: string;
    readonly schema?: Json;
  }[];
  readonly requestBody?: { readonly required?: boolean; readonly content: Readonly<Record<string, { readonly schema?: Json }>> };
  readonly responses: Readonly<Record<string, { readonly content?: Readonly<Record<string, unknown>> }>>;
}

/** Describes one tool as clients are told of it (MCP, "Tools"). */
export interface ShownTool {
  readonly name: string;
  readonly title: string;
  readonly description: string;
  readonly inputSchema: {
    readonly type: "object";
    readonly properties: Readonly<Record<string, unknown>>;
    readonly required?: readonly string[];
    readonly additionalProperties: false;
  };
  readonly annotations: {
    readonly title: string;
    readonly readOnlyHint: boolean;
    readonly destructiveHint: boolean;
    readonly idempotentHint: boolean;
  };
}

/** Describes one tool, and the request to the admin API that it stands for. */
export interface Tool {
  readonly shown: ShownTool;
  /** The least role that may call it. */
  readonly role: Role;
  readonly method: string;
  /** The path with its parameters in braces, as in "/admin/keys/{id}". */
  readonly path: string;
  readonly inPath: readonly string[];
  readonly inQuery: readonly string[];
  readonly takesBody: boolean;
  /** True when `note` says why it is called. */
  readonly takesNote: boolean;
  /** True when `part` names a part of the answer. */
  readonly takesPart: boolean;
  /** The field of its answer that holds a secret which is shown only there; `null`: there is none. */
  readonly shownOnce: string | null;
}

/** The arguments beside those of the operation. The operations' own parameters have other names. */
const NOTE = {
  type: "string",
  minLength: 1,
  maxLength: 500,
  description: "Why you do this, in a sentence: whoever looks into the versions later reads it.",
};
const PART = {
  type: "string",
  pattern: "^(/[^/]*)*$",
  description: "Only this part of the answer, as a JSON Pointer such as /routes/0. For answers that are too large as a whole.",
};

/**
 * Makes the tools of the admin API's operations, in the order of its document: one for each that takes and gives JSON. What only browsers
 * need is none, nor what gives a stream or a file. `roleOf`: the least role for a method and path.
 */
export function toolsOf(document: ToolDocument, roleOf: (method: string, path: string) => Role): Tool[] {
  const {
    paths,
    components: { schemas },
  } = document;
  return Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).flatMap(([method, operation]) => {
      const at = `${method.toUpperCase()} ${path}`;
      if (!path.startsWith("/admin/") || OPERATIONS[at]?.isTool === false || !givesJson(operation)) return [];
      const creation = method === "patch" ? paths[path.replace("/{id}", "")]?.post?.operationId : undefined;
      return [toolOf(at, operation, { schemas, role: roleOf(method.toUpperCase(), path), creation: creation ?? null })];
    }),
  );
}

/** Tells whether an operation gives JSON, or nothing. */
const givesJson = ({ responses }: DocumentedOperation): boolean =>
  Object.entries(responses).some(
    ([status, { content }]) => status.startsWith("2") && (content === undefined || content["application/json"] !== undefined),
  );

/** Holds what an operation itself does not say of its tool. */
interface Around {
  readonly schemas: Schemas;
  readonly role: Role;
  /** The id of the operation that creates what this one changes; `null`: there is none, or it changes nothing. */
  readonly creation: string | null;
}

function toolOf(at: string, operation: DocumentedOperation, { schemas, role, creation }: Around): Tool {
  const [method = "", path = ""] = at.split(" ");
  const { adds = false, shownOnce = null } = OPERATIONS[at] ?? {};
  const { operationId: name, summary = name, description, parameters = [], requestBody } = operation;
  const named = parameters.filter((each) => each.in === "path" || each.in === "query");
  const bodySchema = requestBody?.content["application/json"]?.schema;
  const whole = bodySchema === undefined ? null : inlined(bodySchema, schemas);
  const body = whole !== null && creation !== null ? changeOf(whole, creation) : whole;
  // A POST that every role may send puts a question that fits in no URL.
  const isReadOnly = isLook(method) || role === "viewer";
  const takesNote = !isReadOnly && VERSIONED.has(path);
  const takesPart = isReadOnly && !named.some((each) => each.name === "cursor");
  const properties: Record<string, unknown> = {
    ...Object.fromEntries(named.map((each) => [each.name, argumentOf(each, schemas)])),
    ...(body === null ? {} : { body: { description: "What it takes.", ...body } }),
    ...(takesNote ? { note: NOTE } : {}),
    ...(takesPart ? { part: PART } : {}),
  };
  const required = [
    ...named.filter((each) => each.required === true).map((each) => each.name),
    ...(body !== null && requestBody?.required !== false ? ["body"] : []),
  ];
  const isSame = isIdempotent(method) || method === "PATCH" || isReadOnly;
  return {
    shown: {
      name,
      title: summary,
      description: [`${summary}.`, description ?? "", shownOnce === null ? "" : LEFT_OUT].filter((each) => each !== "").join(" "),
      inputSchema: { type: "object", properties, ...(required.length === 0 ? {} : { required }), additionalProperties: false },
      annotations: { title: summary, readOnlyHint: isReadOnly, destructiveHint: !isReadOnly && !adds, idempotentHint: isSame },
    },
    ...{ role, method, path, takesNote, takesPart, shownOnce },
    inPath: named.filter((each) => each.in === "path").map((each) => each.name),
    inQuery: named.filter((each) => each.in === "query").map((each) => each.name),
    takesBody: body !== null,
  };
}

/** The paths of records whose changes are versions, which can say why they were made. */
const VERSIONED: ReadonlySet<string> = new Set(
  Object.values(KINDS).flatMap((kind) => (kind.isDocument ? [`/admin/${kind.path}`, `/admin/${kind.path}/{id}`] : [])),
);

/** The words of a schema that say what stands within a value. */
const WITHIN: ReadonlySet<string> = new Set(["properties", "required", "additionalProperties", "propertyNames", "items", "anyOf"]);

/**
 * Gives the schema of a change without what stands within its fields, which the operation that creates such a record says: the list of tools
 * stands in a model's memory all the time.
 */
function changeOf({ properties, ...body }: Json, creation: string): Json {
  const brief = ([name, field]: [string, unknown]): [string, unknown] => {
    if (!isObject(field)) return [name, field];
    return [name, Object.fromEntries(Object.entries(field).filter(([word]) => !WITHIN.has(word)))];
  };
  return {
    ...body,
    ...(isObject(properties) ? { properties: Object.fromEntries(Object.entries(properties).map(brief)) } : {}),
    description: `What to change, as a merge patch (RFC 7396): objects are merged, lists replaced, and null takes a field away. Fields are as ${creation} takes them.`,
  };
}

const LEFT_OUT = "You are not shown the secret: seeAt in the result is where a person sees it, once.";

/** Gives the schema of a parameter as an argument. A value is escaped when it goes into the path, and not before. */
function argumentOf({ schema = {}, description }: { readonly schema?: Json; readonly description?: string }, schemas: Schemas): Json {
  return { ...inlined(schema, schemas), ...(description === undefined ? {} : { description: description.replace(ESCAPED, "") }) };
}

/** What a parameter's description says of slashes in paths. */
const ESCAPED = /[;,] [^;,.]*written as %2F/;

/** Gives a schema with what it refers to in its place: clients pass schemas on to models, and not all of these follow references. */
function inlined(schema: Json, schemas: Schemas): Json {
  const within = (value: unknown): unknown =>
    Array.isArray(value) ? value.map(within) : isObject(value) ? inlined(value, schemas) : value;
  const { $ref, ...own } = schema;
  const referred = typeof $ref === "string" ? schemas[$ref.slice($ref.lastIndexOf("/") + 1)] : undefined;
  const rest = Object.fromEntries(Object.entries(own).map(([name, value]) => [name, within(value)]));
  return referred === undefined ? rest : { ...inlined(referred, schemas), ...rest };
}
