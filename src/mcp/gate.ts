import type { Caller } from "../exchange/caller.ts";
import type { Arrival, Exchange } from "../exchange/exchange.ts";
import type { Gate, Stop } from "../exchange/line.ts";
import { type Problem, problem } from "../http/problem.ts";
import type { RpcTold } from "../http/rpc-refusal.ts";
import { insufficientScope } from "../identity/gate.ts";
import { mediaFault, readWhole } from "./body.ts";
import { decodedName, headersFault, type McpHeaders, shown } from "./headers.ts";
import {
  idOf,
  isFault,
  type Message,
  type Messages,
  MODERN_VERSION,
  parseMessages,
  RPC,
  type RpcFault,
  type RpcId,
  rpcFault,
} from "./protocol.ts";
import { challenged } from "./resource.ts";
import type { RouteMcp } from "./route-mcp.ts";

/** Holds what is known of the message that a request brings. */
export interface RpcCall {
  /** The id that an answer to it carries; `null`: it gets none, or there are several messages. */
  readonly id: RpcId | null;
  /** True when it asks for a list of tools. */
  readonly listsTools: boolean;
}

/** The longest name of a tool that is taken: the protocol wants at most half of it. */
const MAX_NAME = 256;

const METHODS = ["GET", "POST", "DELETE", "OPTIONS", "HEAD"];
const NOT_TAKEN = problem("methodNotAllowed", "Send messages of the Model Context Protocol by POST.", {}, [["Allow", METHODS.join(", ")]]);
const NO_UPGRADE = problem("badRequest", "Messages of the Model Context Protocol are taken by POST alone: leave the header Upgrade out.");
const WITH_BODY = problem("badRequest", "Send the message by POST: with this method there is no body.");

/**
 * Makes the gate of a route to a server of the Model Context Protocol: it reads the message, refuses calls of tools that the caller may not
 * call, and tells limits and usage which tool it is and what it costs. It stands before limits are asked.
 */
export function mcpGate(mcp: RouteMcp): Gate {
  return (exchange) => {
    const { head } = exchange.incoming;
    if (exchange.asker !== null) return told(exchange, mcp);
    // What else clients ask to change to, such as h2c, is not passed on.
    if (head.upgrade === "websocket") return NO_UPGRADE;
    if (!METHODS.includes(head.method)) return NOT_TAKEN;
    if (head.method !== "POST") return exchange.body === null ? null : WITH_BODY;
    if (exchange.body === null) return ofHeaders(exchange, mcp);
    const fault = mediaFault(exchange);
    if (fault !== null) return fault;
    const max = exchange.route.maxBodySize ?? exchange.snapshot.maxBodySize;
    return readWhole(exchange, max).then((bytes) =>
      bytes instanceof Uint8Array ? ofMessages(exchange, mcp, parseMessages(bytes)) : bytes,
    );
  };
}

/** Decides about the messages of a body. */
function ofMessages(exchange: Exchange<Arrival>, mcp: RouteMcp, read: Messages | RpcFault): Problem | null {
  if (isFault(read)) return refused(exchange, read);
  const { messages, isBatch } = read;
  const calls = messages.filter(isCall);
  const [first, another] = calls;
  const name = first?.params.name;
  const id = isBatch || messages[0] === undefined ? null : idOf(messages[0]);
  const tool = typeof name === "string" ? name : null;
  const listsTools = messages.some((message) => message.kind !== "response" && message.method === "tools/list");
  exchange.rpc = { id, listsTools };
  exchange.notes.tool = tool;
  const fault = headersFault(read, headersOf(exchange));
  if (fault !== null) return refused(exchange, fault);
  if (another !== undefined)
    return refused(exchange, rpcFault(null, RPC.invalidRequest, "A batch must not call more than one tool: send each call by itself."));
  if (first === undefined) return null;
  if (tool === null || tool === "" || tool.length > MAX_NAME)
    return refused(
      exchange,
      rpcFault(idOf(first), RPC.invalidParams, `params.name must be the name of a tool, of 1 to ${MAX_NAME} characters.`),
    );
  return ofTool(exchange, mcp, tool);
}

/**
 * Decides about a message whose body somebody else has: a proxy asks about its request, and does not send that along. Its headers say which
 * tool it calls, and by the version without sessions its server refuses a body that says otherwise. By older ones nobody does.
 */
function ofHeaders(exchange: Exchange<Arrival>, mcp: RouteMcp): Problem | null {
  const { version, method, name: field } = headersOf(exchange);
  if (version !== MODERN_VERSION || method === null)
    return refused(exchange, rpcFault(null, RPC.invalidRequest, "The body must be a message of JSON-RPC 2.0."));
  if (method !== "tools/call") return null;
  // Encoded, it stands for another name than it looks like.
  const name = field === null ? null : decodedName(field);
  if (field !== null && (name === null || name === "" || name.length > MAX_NAME))
    return refused(exchange, rpcFault(null, RPC.headerMismatch, `Mcp-Name must say the name of a tool, of 1 to ${MAX_NAME} characters.`));
  exchange.notes.tool = name;
  return name === null
    ? refused(exchange, rpcFault(null, RPC.headerMismatch, "The header Mcp-Name is missing: it must say params.name."))
    : ofTool(exchange, mcp, name);
}

/** Tells why a caller may not call a tool; `null` when they may. */
export function toolRefusal(mcp: RouteMcp, caller: Caller, tool: string): Problem | null {
  if (!mcp.lets(tool)) {
    const refusal = problem("toolUnknown", `Unknown tool: ${shown(tool)}. Ask tools/list for those that you may call.`);
    return { ...refusal, rpc: { code: RPC.invalidParams } };
  }
  const scopes = mcp.scopesFor(tool);
  const missing = scopes.filter((scope) => !caller.scopes.includes(scope));
  if (missing.length === 0) return null;
  const refusal = caller.via === "none" ? nobodyMay(scopes) : insufficientScope(caller, missing, scopes);
  return mcp.resource === null ? refusal : challenged(refusal, mcp.resource);
}

/** Makes the refusal of a caller of whom nothing says who it is: a client that can log in does so then. */
const nobodyMay = (scopes: readonly string[]): Problem =>
  problem("keyMissing", `This tool needs the scope ${scopes.join(", ")}: send a key or a token that has it.`, {}, [
    ["WWW-Authenticate", `Bearer realm="sluice", scope="${scopes.join(" ")}"`],
  ]);

/** Decides about the call of a tool, and tells what is counted by it. */
function ofTool(exchange: Exchange<Arrival>, mcp: RouteMcp, tool: string): Problem | null {
  const refusal = toolRefusal(mcp, exchange.caller, tool);
  if (refusal !== null) return refusal.rpc !== undefined && readsResults(exchange) ? inResult(refusal, refusal.rpc) : refusal;
  exchange.tool = tool;
  // What a plug-in says of this one call comes first.
  exchange.cost ??= mcp.costOf(tool);
  return null;
}

/** Tells what would become of a call, for whoever only asks. */
function told(exchange: Exchange<Arrival>, mcp: RouteMcp): Stop | null {
  const { asker, tool, caller } = exchange;
  if (tool === null) {
    asker?.tell("tool", "no tool is named: what calls one depends on the message", null);
    return null;
  }
  const refusal = ofTool(exchange, mcp, tool);
  if (refusal !== null)
    asker?.tell("tool", mcp.lets(tool) ? String(refusal.members.detail) : `the route's tools do not let ${shown(tool)} through`, false);
  else {
    const scopes = mcp.scopesFor(tool);
    const by = scopes.length === 0 ? "" : `, with ${scopes.filter((scope) => caller.scopes.includes(scope)).join(", ")}`;
    asker?.tell("tool", `${shown(tool)} may be called${by}; it takes ${exchange.cost ?? exchange.route.cost} from each limit`, true);
  }
  return refusal;
}

/** Makes the refusal of a message that the protocol does not allow. */
function refused(exchange: Exchange<Arrival>, { id, error }: RpcFault): Problem {
  exchange.rpc ??= { id, listsTools: false };
  const { code, data } = error;
  return { ...problem("badRequest", error.message), rpc: data === undefined ? { code } : { code, data } };
}

/**
 * Tells whether the client reads the result of its message from the answer: a notification and a batch have none, and by the transport of
 * 2024-11-05, whose clients do not say that they take JSON, results come by another stream.
 */
const readsResults = ({ rpc, incoming }: Exchange<Arrival>): boolean =>
  rpc !== null && rpc.id !== null && incoming.head.fields.joined("accept")?.includes("application/json") === true;

/** Has a refusal told as a server tells it that has no such tool: as the result of the call. */
const inResult = (refusal: Problem, { code }: RpcTold): Problem => ({ ...refusal, rpc: { code, status: 200 } });

const isCall = (message: Message): message is Exclude<Message, { kind: "response" }> =>
  message.kind !== "response" && message.method === "tools/call";

function headersOf({ incoming }: Exchange<Arrival>): McpHeaders {
  const { fields } = incoming.head;
  return { version: fields.joined("mcp-protocol-version"), method: fields.joined("mcp-method"), name: fields.joined("mcp-name") };
}
