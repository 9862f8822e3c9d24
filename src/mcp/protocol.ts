import { isObject, type RawNumber, rawJson } from "../values/json.ts";
import { ambiguousMember, idTexts, VERSION_KEY } from "./members.ts";

/** The version of the Model Context Protocol without sessions: each request says by which version it is meant. */
export const MODERN_VERSION = "2026-07-28";
/** The versions whose clients begin with `initialize`, the newest first. */
export const LEGACY_VERSIONS = ["2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05", "2024-10-07"] as const;
/** All versions that are known here, the newest first. */
export const VERSIONS: readonly string[] = [MODERN_VERSION, ...LEGACY_VERSIONS];

/** The member names of a request's `_meta` that are the protocol's own. */
export const META = {
  version: VERSION_KEY,
  clientInfo: "io.modelcontextprotocol/clientInfo",
  clientCapabilities: "io.modelcontextprotocol/clientCapabilities",
  serverInfo: "io.modelcontextprotocol/serverInfo",
} as const;

/** The error codes of JSON-RPC 2.0 (section 5.1), and of the Model Context Protocol ("Error Codes" of 2026-07-28). */
export const RPC = {
  parseError: -32700,
  invalidRequest: -32600,
  methodNotFound: -32601,
  invalidParams: -32602,
  internalError: -32603,
  headerMismatch: -32020,
  missingClientCapability: -32021,
  unsupportedVersion: -32022,
} as const;

/** A message's id. A number that JavaScript would round is kept as it was written, or no client would know its answer by it. */
export type RpcId = string | number | RawNumber;

export interface RpcError {
  readonly code: number;
  /** One sentence. */
  readonly message: string;
  readonly data?: unknown;
}

/** Says why a message can't be taken. */
export interface RpcFault {
  /** The id of the request; `null`: it has none, or it could not be read. */
  readonly id: RpcId | null;
  readonly error: RpcError;
}

/** Holds one message of a client's. `params` is empty where it has none. */
export type Message =
  | { readonly kind: "request"; readonly id: RpcId; readonly method: string; readonly params: Readonly<Record<string, unknown>> }
  | { readonly kind: "notification"; readonly method: string; readonly params: Readonly<Record<string, unknown>> }
  | { readonly kind: "response"; readonly id: RpcId };

/** Holds what one body brings. */
export interface Messages {
  /** One at least. */
  readonly messages: readonly Message[];
  /** True where they stand in a list, as the version 2025-03-26 allows. */
  readonly isBatch: boolean;
}

/** The most messages of one batch: clients send a handful. */
const MAX_BATCH = 100;

/** Makes a fault. */
export const rpcFault = (id: RpcId | null, code: number, message: string, data?: unknown): RpcFault => ({
  id,
  error: data === undefined ? { code, message } : { code, message, data },
});

/**
 * Gives an error's answer as the protocol writes it, with nothing besides: official clients take no other. Without an id where none was
 * read (2026-07-28, "Error Responses").
 */
export const rpcErrorAnswer = ({ id, error }: RpcFault) => ({ jsonrpc: "2.0", ...(id === null ? {} : { id }), error });

/** Gives a result's answer. */
export const rpcResultAnswer = (id: RpcId, result: Readonly<Record<string, unknown>>) => ({ jsonrpc: "2.0", id, result });

export const isFault = (read: Messages | RpcFault): read is RpcFault => "error" in read;

/**
 * Reads the messages of a body, strictly: what a server could read otherwise than Sluice is a fault.
 *
 * @example
 * parseMessages('{"jsonrpc":"2.0","id":1,"method":"tools/list"}'); // { isBatch: false, messages: [{ kind: "request", id: 1, method: "tools/list", params: {} }] }
 */
export function parseMessages(body: Uint8Array | string): Messages | RpcFault {
  const text = textOf(body);
  const value = text === null ? undefined : parsed(text);
  if (text === null || value === undefined) return rpcFault(null, RPC.parseError, "The body is not JSON in UTF-8.");
  const isBatch = Array.isArray(value);
  const values: readonly unknown[] = isBatch ? value : [value];
  if (values.length === 0 || values.length > MAX_BATCH)
    return rpcFault(null, RPC.invalidRequest, `A batch must hold 1 to ${MAX_BATCH} messages.`);
  const messages: Message[] = [];
  const ids = values.some(hasRoundedId) ? idTexts(text) : [];
  for (const [i, each] of values.entries()) {
    const message = messageOf(each, ids[i] ?? null);
    if ("error" in message) return message;
    messages.push(message);
  }
  const ambiguous = ambiguousMember(text);
  return ambiguous === null ? { messages, isBatch } : rpcFault(null, RPC.invalidRequest, ambiguous);
}

/** Gives the version that a message says it is meant by; `null`: it says none, as those of older versions do. */
export function versionOf(message: Message): string | null | RpcFault {
  if (message.kind === "response") return null;
  const { _meta: meta } = message.params;
  if (!isObject(meta) || !(META.version in meta)) return null;
  const version = meta[META.version];
  if (typeof version === "string") return version;
  return rpcFault(idOf(message), RPC.invalidParams, `${META.version} in params._meta must be a version such as "${MODERN_VERSION}".`);
}

/** Gives the refusal of a version that is not known here. */
export const unsupportedVersion = (id: RpcId | null, requested: string): RpcFault =>
  rpcFault(id, RPC.unsupportedVersion, "This version of the protocol is not supported: use one of data.supported.", {
    supported: VERSIONS,
    requested,
  });

/** Gives the id that an answer to a message carries; `null`: it gets none. */
export const idOf = (message: Message): RpcId | null => (message.kind === "request" ? message.id : null);

const UTF8 = new TextDecoder("utf-8", { fatal: true });

function textOf(body: Uint8Array | string): string | null {
  if (typeof body === "string") return body;
  try {
    return UTF8.decode(body);
  } catch {
    return null;
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Reads a message. `idText`: its id as it is written, where that has to be known. */
function messageOf(value: unknown, idText: string | null): Message | RpcFault {
  if (!isObject(value)) return rpcFault(null, RPC.invalidRequest, "A message must be an object of JSON-RPC 2.0.");
  const read = isRpcId(value.id) ? value.id : null;
  const id = idText !== null && hasRoundedId(value) ? rawJson.rawJSON(idText) : read;
  const invalid = (message: string): RpcFault => rpcFault(id, RPC.invalidRequest, message);
  if (value.jsonrpc !== "2.0") return invalid('The member "jsonrpc" must be "2.0".');
  if ("id" in value && id === null) return invalid('The member "id" must be a text or a number.');
  const { method, params = {} } = value;
  if (method === undefined) {
    if (id === null || !("result" in value || "error" in value))
      return invalid('A message must have a "method", or an "id" and a "result".');
    return { kind: "response", id };
  }
  if (typeof method !== "string") return invalid('The member "method" must be a text.');
  if ("result" in value || "error" in value) return invalid('A message with a "method" must have no "result" and no "error".');
  if (!isObject(params)) return rpcFault(id, RPC.invalidParams, 'The member "params" must be an object.');
  return id === null ? { kind: "notification", method, params } : { kind: "request", id, method, params };
}

/** Tells whether a message's id is a number that may have been rounded. */
const hasRoundedId = (value: unknown): boolean => isObject(value) && typeof value.id === "number" && !Number.isSafeInteger(value.id);

const isRpcId = (id: unknown): id is string | number => typeof id === "string" || typeof id === "number";
