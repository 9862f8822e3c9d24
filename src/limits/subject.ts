import { parseIp } from "../values/ip.ts";
import { hashKey } from "../values/key-format.ts";
import type { Policy } from "./policy.ts";

/** Describes who makes a request, as far as limits tell callers apart. */
export interface Requester {
  readonly consumerId: string | null;
  readonly keyId: string | null;
  readonly ip: string;
  readonly route: string;
  /** The model that the request names; "": none. */
  readonly model: string;
  /** The tool that the request calls by the Model Context Protocol; "": none. */
  readonly tool: string;
  /** Gives a request header's value, or `null`. */
  header(name: string): string | null;
  /** Gives what a plug-in says of the request under this name, or `null`. */
  tag(name: string): string | null;
}

/**
 * Gives the subject that a limit counts this request for. Callers without a key are counted by IP where the limit counts keys or consumers.
 */
export function subjectOf(policy: Policy, requester: Requester): string {
  const { by } = policy;
  if (by.length === 0) return requester.consumerId ?? ipSubject(requester.ip);
  if (by.length === 1) return part(by[0] as string, requester);
  return JSON.stringify(by.map((each) => part(each, requester)));
}

/**
 * Tells whether a limit counts this request by its address, or among others by it. `isKnown`: whether it is known who calls, so that it
 * isn't counted by address for want of that.
 */
export function countsByAddress({ by }: Policy, isKnown: boolean): boolean {
  const isOfAddress = (each: string): boolean => each === "ip" || (!isKnown && (each === "consumer" || each === "key"));
  return by.length === 0 ? !isKnown : by.some(isOfAddress);
}

function part(by: string, requester: Requester): string {
  switch (by) {
    case "consumer":
      return requester.consumerId ?? ipSubject(requester.ip);
    case "key":
      return requester.keyId ?? ipSubject(requester.ip);
    case "ip":
      return ipSubject(requester.ip);
    case "route":
      return requester.route;
    case "global":
      return "";
    case "model":
      return named(requester.model);
    case "tool":
      return named(requester.tool);
    default:
      return textSubject((by.startsWith(TAG) ? requester.tag(by.slice(TAG.length)) : requester.header(by.slice(HEADER.length))) ?? "");
  }
}

/** Tells whether a subject can be told of a requester of whom no more than these parts is known, such as "key" and "ip". */
export const isToldBy = ({ by }: Policy, known: readonly string[]): boolean => by.every((part) => known.includes(part));

/** The length of the shortest key that there can be. */
const SHORTEST_KEY = 16;

const HEADER = "header:";
/** Tells whether one of these limits is counted by the model that a request names. */
export const countsByModel = (policies: readonly Policy[]): boolean => policies.some(({ by }) => by.includes("model"));

const TAG = "tag:";

/** Gives a field's or a tag's value as a subject. Subjects are stored, and a value this long may be a key: then its hash is used. */
const textSubject = (value: string): string => (value.length < SHORTEST_KEY ? value : `#${hashKey(value).slice(0, 32)}`);

/** The length of the longest name of a model or a tool that is a subject as it stands: callers make them up. */
const LONGEST_NAME = 128;

/** Gives the name of a model or a tool as a subject; one that is too long by its hash. */
const named = (name: string): string => (name.length <= LONGEST_NAME ? name : `#${hashKey(name).slice(0, 32)}`);

/**
 * Gives an address as a subject, in brackets so that no consumer's id can be the same. An IPv6 caller is counted by its /64: that is what
 * one subscriber gets (RFC 6177), and taking another address from it costs nothing.
 */
export function ipSubject(ip: string): string {
  if (!ip.includes(":")) return `[${ip}]`;
  const bytes = parseIp(ip);
  if (bytes === null) return `[${ip}]`;
  return bytes.length === 4 ? `[${bytes.join(".")}]` : `[${bytes.subarray(0, 8).toHex()}::/64]`;
}

/** Gives the address that a subject was made of, of IPv6 the first one of its network; `null`: it was made of none. */
export function addressOf(subject: string): string | null {
  const [, network, address] = /^\[(?:([0-9a-f]{16})::\/64|([^\]]+))\]$/.exec(subject) ?? [];
  if (network !== undefined) return `${network.match(/.{4}/g)?.join(":")}::`;
  return address ?? null;
}
