import Ajv2020, { type ValidateFunction } from "ajv/dist/2020";
import addFormats from "ajv-formats";

interface Media {
  readonly schema?: object;
  readonly example?: unknown;
}
interface Response {
  readonly $ref?: string;
  readonly content?: Record<string, Media>;
}
export interface Parameter {
  readonly name: string;
  readonly in: string;
  readonly description?: string;
  readonly required?: boolean;
  readonly example?: unknown;
  readonly schema?: object;
}
export interface Operation {
  readonly operationId: string;
  readonly summary?: string;
  readonly tags?: readonly string[];
  readonly parameters?: readonly Parameter[];
  readonly requestBody?: { readonly required?: boolean; readonly content: Record<string, Media> };
  readonly responses: Record<string, Response>;
  readonly security?: readonly Record<string, unknown>[];
}
export interface Document {
  readonly openapi: string;
  readonly servers: readonly { readonly url: string }[];
  readonly tags: readonly { readonly name: string }[];
  readonly paths: Record<string, Record<string, Operation>>;
  readonly components: {
    readonly securitySchemes: Record<string, object>;
    readonly schemas: Record<string, object>;
    readonly responses: Record<string, Response>;
  };
}

/** One answer, as it came over the wire. */
export interface Answered {
  readonly method: string;
  /** With or without a query. */
  readonly target: string;
  readonly status: number;
  readonly type: string | null;
  readonly text: string;
}

/** Compares answers and bodies with an OpenAPI document. */
export function conformance(document: Document) {
  const ajv = new Ajv2020({ strict: false, allErrors: true });
  addFormats(ajv);
  ajv.addSchema(document, "document");
  const validators = new Map<string, ValidateFunction>();
  const at = (...steps: string[]): string =>
    `document#/${steps.map((step) => encodeURIComponent(step.replaceAll("~", "~0").replaceAll("/", "~1"))).join("/")}`;
  const faultsBy = (pointer: string, value: unknown): string[] => {
    let validate = validators.get(pointer);
    if (validate === undefined) {
      validate = ajv.compile({ $ref: pointer });
      validators.set(pointer, validate);
    }
    return validate(value) ? [] : (validate.errors ?? []).map(({ instancePath, message }) => `${instancePath} ${message}`);
  };
  const templates = Object.keys(document.paths)
    .map((path) => ({ path, pattern: new RegExp(`^${path.replaceAll(".", "\\.").replace(/\{[^}]+\}/g, "[^/]+")}/?$`) }))
    // What is written out goes before what takes any word.
    .sort((a, b) => Number(a.path.includes("{")) - Number(b.path.includes("{")));
  const pathOf = (target: string): string | undefined => templates.find(({ pattern }) => pattern.test(target.split("?", 1)[0] ?? ""))?.path;

  return {
    /** What an answer has that the document does not say; nothing of paths and methods that are not in it. */
    faultsOf: ({ method, target, status, type, text }: Answered): string[] => {
      const path = pathOf(target);
      const operation = path === undefined ? undefined : document.paths[path]?.[method.toLowerCase()];
      if (path === undefined || operation === undefined) return [];
      const here = `${method} ${path} ${status}`;
      const response = operation.responses[String(status)];
      if (response === undefined) return [`${here}: there is no such status in the document`];
      const steps = response.$ref?.replace("#/", "").split("/") ?? ["paths", path, method.toLowerCase(), "responses", String(status)];
      const content = response.$ref === undefined ? response.content : document.components.responses[steps.at(-1) ?? ""]?.content;
      if (content === undefined) return text === "" ? [] : [`${here}: there is a body`];
      const media = (type ?? "").split(";", 1)[0] ?? "";
      if (content[media] === undefined) return [`${here}: the document has ${Object.keys(content)}, not ${media}`];
      if (!/\bjson$/.test(media)) return [];
      return faultsBy(at(...steps, "content", media, "schema"), JSON.parse(text)).map((fault) => `${here}:${fault}`);
    },
    /** What is wrong with a body by the document's schema. */
    faultsOfBody: (method: string, path: string, body: unknown): string[] =>
      faultsBy(at("paths", path, method.toLowerCase(), "requestBody", "content", "application/json", "schema"), body),
  };
}
