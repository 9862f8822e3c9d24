import {
  idOf,
  LEGACY_VERSIONS,
  META,
  type Message,
  type Messages,
  MODERN_VERSION,
  RPC,
  type RpcFault,
  rpcFault,
  unsupportedVersion,
  VERSIONS,
  versionOf,
} from "./protocol.ts";

/** Holds the header fields that say again what the body says; `null`: it was not sent. Fields that were sent twice are joined by commas. */
export interface McpHeaders {
  /** MCP-Protocol-Version. */
  readonly version: string | null;
  /** Mcp-Method. */
  readonly method: string | null;
  /** Mcp-Name. */
  readonly name: string | null;
}

/**
 * Checks header fields against the messages that came with them (2026-07-28, "Server Validation"): whoever routes or counts by a field must
 * see what the server sees. Requests by the version without sessions must have these fields; where others have them, they must be right.
 * Gives what is wrong; `null`: nothing is.
 */
export function headersFault({ messages, isBatch }: Messages, headers: McpHeaders): RpcFault | null {
  for (const message of messages) {
    const fault = isBatch ? batchFault(message, headers) : (versionFault(message, headers) ?? mirrorFault(message, headers));
    if (fault !== null) return fault;
  }
  return null;
}

function batchFault(message: Message, { version, method, name }: McpHeaders): RpcFault | null {
  const claimed = versionOf(message);
  if (claimed !== null || version === MODERN_VERSION)
    return rpcFault(null, RPC.invalidRequest, `Version ${MODERN_VERSION} of the protocol has no batches: send one message.`);
  if (version !== null && !VERSIONS.includes(version)) return unsupportedVersion(null, version);
  if (method !== null || name !== null)
    return rpcFault(null, RPC.headerMismatch, "Mcp-Method and Mcp-Name can't say what a batch holds: leave them out.");
  return null;
}

function versionFault(message: Message, { version }: McpHeaders): RpcFault | null {
  const id = idOf(message);
  const claimed = versionOf(message);
  if (claimed !== null && typeof claimed !== "string") return claimed;
  if (claimed !== null && version !== null && claimed !== version)
    return rpcFault(
      id,
      RPC.headerMismatch,
      `Header mismatch: MCP-Protocol-Version says ${shown(version)}, and the body ${shown(claimed)}.`,
    );
  const said = claimed ?? version;
  if (said !== null && !VERSIONS.includes(said)) return unsupportedVersion(id, said);
  // What the protocol does not say of notifications and of answers is not asked of them.
  if (message.kind !== "request") return null;
  if (claimed === MODERN_VERSION && version === null)
    return rpcFault(id, RPC.headerMismatch, `The header MCP-Protocol-Version is missing: the body says "${MODERN_VERSION}".`);
  if (claimed !== null || version !== MODERN_VERSION) return null;
  if (message.method === "initialize")
    return rpcFault(
      id,
      RPC.headerMismatch,
      `Version ${MODERN_VERSION} has no "initialize", which begins sessions of ${LEGACY_VERSIONS[0]} and older ones.`,
    );
  return rpcFault(
    id,
    RPC.invalidParams,
    `params._meta lacks ${META.version}, which must be "${MODERN_VERSION}" as in MCP-Protocol-Version.`,
  );
}

/** The members of `params` that Mcp-Name says again, by the method; the field is required where a server of the core protocol knows it. */
const NAMED: Readonly<Record<string, { readonly member: string; readonly isRequired: boolean }>> = {
  "tools/call": { member: "name", isRequired: true },
  "prompts/get": { member: "name", isRequired: true },
  "resources/read": { member: "uri", isRequired: true },
  "tasks/get": { member: "taskId", isRequired: false },
  "tasks/update": { member: "taskId", isRequired: false },
  "tasks/cancel": { member: "taskId", isRequired: false },
};

function mirrorFault(message: Message, { method, name }: McpHeaders): RpcFault | null {
  if (message.kind === "response") return null;
  const id = idOf(message);
  const isModern = message.kind === "request" && versionOf(message) === MODERN_VERSION;
  if (method === null) {
    if (isModern) return rpcFault(id, RPC.headerMismatch, `The header Mcp-Method is missing: it must be ${shown(message.method)}.`);
  } else if (method !== message.method)
    return rpcFault(id, RPC.headerMismatch, `Header mismatch: Mcp-Method says ${shown(method)}, and the body ${shown(message.method)}.`);
  const named = Object.hasOwn(NAMED, message.method) ? NAMED[message.method] : undefined;
  const value = named === undefined ? undefined : message.params[named.member];
  if (named === undefined || typeof value !== "string") return null;
  if (name === null)
    return isModern && named.isRequired
      ? rpcFault(id, RPC.headerMismatch, `The header Mcp-Name is missing: it must say params.${named.member}.`)
      : null;
  const said = decodedName(name);
  if (said === null)
    return rpcFault(id, RPC.headerMismatch, "Mcp-Name begins with =?base64?, but what follows is not UTF-8 in Base64 and ?=.");
  return said === value
    ? null
    : rpcFault(
        id,
        RPC.headerMismatch,
        `Header mismatch: Mcp-Name says ${shown(said)}, and params.${named.member} in the body ${shown(value)}.`,
      );
}

/** Gives what was sent for a message to whoever sent it, in quotes and no longer than a name is. */
export const shown = (text: string): string => JSON.stringify(text.length > 128 ? `${text.slice(0, 128)}…` : text);

const BASE64 = /^=\?base64\?((?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?)\?=$/;
const UTF8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Gives the name that Mcp-Name stands for ("Value Encoding"); `null`: it is encoded, but not as it should be. */
export function decodedName(field: string): string | null {
  if (!field.startsWith("=?base64?") || !field.endsWith("?=")) return field;
  const [, encoded] = BASE64.exec(field) ?? [];
  if (encoded === undefined) return null;
  try {
    return UTF8.decode(Uint8Array.fromBase64(encoded));
  } catch {
    return null;
  }
}
