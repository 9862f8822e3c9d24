import { Fields } from "../http/fields.ts";
import type { Clock } from "../values/clock.ts";
import { Halves } from "../values/halves.ts";
import type { Decision } from "./asking.ts";

/** Decisions that may be given again. */
type Lasting = Exclude<Decision, { readonly kind: "failed" }>;

interface Kept {
  readonly decision: Lasting;
  /** The `clock.now()` from which on it is not given any more. */
  readonly until: number;
  readonly size: number;
}

/** The number of decisions that are kept at most, and their bytes, for all routes together: what is asked is the callers' to choose. */
const MAX_ENTRIES = 50_000;
const MAX_BYTES = 32 * 1024 * 1024;
/** What one costs besides its fields and body, roughly. */
const OVERHEAD = 256;
/** Larger ones are not kept, so that a few of them don't push out all others. */
const MAX_SIZE = 131_072;

/**
 * Tells whether a decision may be given to others who ask the same: 2xx and 403. What sets a cookie is meant for one browser, also where
 * several asked without a difference.
 */
export const mayBeKept = (decision: Decision): decision is Lasting =>
  decision.kind === "allowed" ||
  (decision.kind === "refused" && decision.response.status === 403 && decision.response.fields.get("set-cookie") === null);

/** Keeps decisions for a while, bounded in number and bytes. */
export class KeptDecisions {
  private readonly kept: Halves<string, Kept>;

  constructor(
    private readonly clock: Clock,
    maxEntries = MAX_ENTRIES,
    private readonly maxBytes = MAX_BYTES,
  ) {
    this.kept = new Halves(maxEntries, { max: maxBytes, of: ({ size }) => size });
  }

  /** The number of decisions in memory, some of which may be over. */
  get count(): number {
    return this.kept.size;
  }

  /** Gives the decision that is kept under this key; `null`: none is, or not any more. */
  find(key: string): Lasting | null {
    const kept = this.kept.get(key);
    return kept !== undefined && this.clock.now() < kept.until ? kept.decision : null;
  }

  /** Keeps a decision for so many milliseconds. */
  put(key: string, decision: Lasting, duration: number): void {
    const own = copyOf(decision);
    const size = sizeOf(own);
    if (size <= Math.min(MAX_SIZE, this.maxBytes / 2)) this.kept.set(key, { decision: own, until: this.clock.now() + duration, size });
  }
}

/** Copies all that is kept: a part of a text, or of what a socket has read, would keep the whole of that in memory. */
function copyOf(decision: Lasting): Lasting {
  if (decision.kind === "allowed") return { kind: "allowed", fields: decision.fields === null ? null : copiedFields(decision.fields) };
  const { response } = decision;
  const { body, reason, fields, connection } = response;
  return {
    kind: "refused",
    response: {
      ...response,
      reason: copied(reason),
      connection: copied(connection),
      fields: copiedFields(fields),
      body: body instanceof Uint8Array ? new Uint8Array(body) : null,
    },
  };
}

function copiedFields({ names, lower, values }: Fields): Fields {
  const fields = new Fields();
  for (let i = 0; i < names.length; i++) fields.add(copied(names[i] as string), copied(lower[i] as string), copied(values[i] as string));
  return fields;
}

const copied = (text: string): string => Buffer.from(text).toString();

function sizeOf(decision: Lasting): number {
  const fields = decision.kind === "allowed" ? decision.fields : decision.response.fields;
  const body = decision.kind === "allowed" ? null : decision.response.body;
  let size = OVERHEAD + (body instanceof Uint8Array ? body.length : 0);
  if (fields !== null)
    for (let i = 0; i < fields.names.length; i++) size += 2 * (fields.names[i] as string).length + (fields.values[i] as string).length;
  return size;
}
