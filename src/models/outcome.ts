/**
 * Says what became of an attempt that gave no answer: the upstream's status; nothing to read in time; no connection, or one that broke; no
 * key of the pool that can take it; or the caller has left meanwhile.
 */
export type Failed = number | "timeout" | "connect" | "budget";

/** Holds the outcomes after which another attempt is made. */
export class OutcomeSet {
  private readonly names: ReadonlySet<string>;

  /** Takes "timeout", "connect", "budget", statuses, "4xx" and "5xx". */
  constructor(names: readonly string[]) {
    this.names = new Set(names);
  }

  has(outcome: Failed): boolean {
    if (typeof outcome === "string") return this.names.has(outcome);
    return outcome >= 400 && (this.names.has(String(outcome)) || this.names.has(outcome < 500 ? "4xx" : "5xx"));
  }
}
