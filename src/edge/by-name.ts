/**
 * Holds something for each name that a client may ask for: names, and wildcards, which stand for one label (RFC 6125 §6.4.3). Of several for one name the
 * first holds. It never changes.
 *
 * @example
 * new ByName([[["*.example.com"], 1]]).get("API.example.com"); // 1
 */
export class ByName<T> {
  private readonly values = new Map<string, T>();

  constructor(entries: Iterable<readonly [names: readonly string[], value: T]>) {
    for (const [names, value] of entries)
      for (const name of names) {
        const key = name.toLowerCase();
        if (!this.values.has(key)) this.values.set(key, value);
      }
  }

  /** Gives what there is for a name, as a client sent it; `undefined`: nothing. The name itself goes before a wildcard. */
  get(sent: string): T | undefined {
    const lower = sent.toLowerCase();
    const name = lower.endsWith(".") ? lower.slice(0, -1) : lower;
    const own = this.values.get(name);
    if (own !== undefined) return own;
    const dot = name.indexOf(".");
    return dot < 1 ? undefined : this.values.get(`*${name.slice(dot)}`);
  }
}
