import type { Static, TSchema } from "@sinclair/typebox";
import { Value } from "@sinclair/typebox/value";
import { schemaFaults } from "../schema/faults.ts";
import { type Body, collect } from "./body.ts";
import { invalid, refused } from "./refused.ts";

/** Says what the bodies of an endpoint are. */
export interface JsonBody<T extends TSchema> {
  readonly schema: T;
  /** Bytes. */
  readonly max: number;
  /** Says what to send, for who sends what is no JSON: `send { "key": "KEY" }`. */
  readonly advice: string;
  /** What an empty body stands for; left out: it is none. */
  readonly empty?: Static<T>;
}

/** Reads a body of JSON. Throws a `Refused` of 400 or 422, `TooLarge`, and what makes the body break off. */
export async function readJson<T extends TSchema>(body: Body | null, { schema, max, advice, empty }: JsonBody<T>): Promise<Static<T>> {
  const bytes = body === null ? NONE : await collect(body, max);
  if (bytes.length === 0 && empty !== undefined) return empty;
  const value = parsed(bytes, advice);
  if (!Value.Check(schema, value)) throw invalid(schemaFaults(schema, value));
  return value;
}

const NONE = new Uint8Array();

function parsed(bytes: Uint8Array, advice: string): unknown {
  try {
    return JSON.parse(Buffer.from(bytes).toString());
  } catch {
    throw refused("badRequest", `The body is not JSON: ${advice}.`);
  }
}
