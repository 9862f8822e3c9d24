/** The most failing targets that are remembered: beyond them, the ones that failed first are forgotten. */
const MAX_TROUBLES = 10_000;

/** Remembers why targets are not well, for people. */
export class Troubles {
  private readonly whys = new Map<string, string>();

  /** Notes what went wrong with a target last: a status that it answered, or a failure of the connection. */
  failed(upstream: string, url: string, why: string): void {
    const name = nameOf(upstream, url);
    if (!this.whys.has(name) && this.whys.size >= MAX_TROUBLES) this.whys.delete(this.whys.keys().next().value ?? "");
    this.whys.set(name, why);
  }

  /** Notes that a target is well again. */
  over(upstream: string, url: string): void {
    this.whys.delete(nameOf(upstream, url));
  }

  /** Gives what went wrong with a target last; `null` when nothing is known. */
  of(upstream: string, url: string): string | null {
    return this.whys.get(nameOf(upstream, url)) ?? null;
  }
}

const nameOf = (upstream: string, url: string): string => `${upstream}\n${url}`;
