/** Says why a certificate did not come, in words for who runs the gateway. */
export class AcmeTrouble extends Error {
  constructor(
    message: string,
    /** The kind of the authority's problem (RFC 8555 §6.7) without its prefix, such as "badNonce"; `null`: it named none. */
    readonly kind: string | null = null,
    /** The status of the answer; 0: there was none. */
    readonly status = 0,
    /** Milliseconds that the authority asks to wait; `null`: it does not say. */
    readonly retryAfter: number | null = null,
  ) {
    super(message);
  }

  /** True where the same question may be answered in a moment. */
  get isPassing(): boolean {
    return this.status === 0 || this.status >= 500;
  }
}

const KINDS = "urn:ietf:params:acme:error:";

/** Holds the error of an authority as it sends it (RFC 8555 §6.7, RFC 9457). */
export interface WireProblem {
  readonly type?: unknown;
  readonly detail?: unknown;
  readonly subproblems?: unknown;
}

/** Makes an error of what an authority says. */
export function troubleOf(problem: WireProblem, status: number, retryAfter: number | null = null): AcmeTrouble {
  const type = typeof problem.type === "string" ? problem.type : "";
  const kind = type.startsWith(KINDS) ? type.slice(KINDS.length) : null;
  return new AcmeTrouble(sentenceOf(problem, status), kind, status, retryAfter);
}

const MAX_LENGTH = 500;
const MAX_PARTS = 5;

function sentenceOf({ type, detail, subproblems }: WireProblem, status: number): string {
  const parts = Array.isArray(subproblems) ? subproblems.slice(0, MAX_PARTS) : [];
  const details = parts.flatMap((part: WireProblem | null) => (typeof part?.detail === "string" ? [part.detail] : []));
  const kind = typeof type === "string" ? type.replace(KINDS, "") : `status ${status}`;
  const text = [typeof detail === "string" ? detail : "", ...details].filter((each) => each !== "").join("; ");
  // Somebody else's words: they go into a line of the log, and no further than that.
  const plain = text.replace(/[\p{Cc}\s]+/gu, " ").slice(0, MAX_LENGTH);
  return plain === "" ? kind.slice(0, MAX_LENGTH) : `${plain} (${kind.slice(0, 100)})`;
}
