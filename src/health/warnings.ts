/** Describes something that whoever runs the gateway must know, though requests are served. */
export interface Warning {
  /** The kind of warning, such as `storageReadOnly`: there is one of each at a time. */
  readonly code: string;
  /** One sentence without names of files, hosts or consumers: anybody may read it. */
  readonly message: string;
  /** The names and files that belong to it; shown to loopback peers and to holders of an admin token. */
  readonly detail: string | null;
  /** Milliseconds since 1970. */
  readonly since: number;
}

/** Keeps the warnings that `/ready` and `/admin/health` list. Each component raises its own, and clears it again. */
export class Warnings {
  private readonly current = new Map<string, Warning>();
  /** The codes of warnings that have log lines of their own. */
  private readonly silent = new Set<string>();
  /** What other processes of this gateway warn of, and the time until which that holds when they say nothing more. */
  private readonly others = new Map<string, { readonly warnings: readonly Warning[]; readonly until: number }>();
  /** Told when a warning of this process has come, has changed, or is over. */
  onOwn: () => void = () => {};

  /** Takes `wall`, which gives milliseconds since 1970, and `onChange`, which is told for the log when a warning comes and when it goes. */
  constructor(
    private readonly wall: () => number,
    private readonly onChange: (warning: Warning, isRaised: boolean) => void = () => {},
  ) {}

  /**
   * Raises a warning, or changes the text of the one with this code, which keeps its time. `isToldElsewhere`: the log has a line of its own
   * for it.
   */
  raise(code: string, message: string, detail: string | null = null, isToldElsewhere = false): void {
    const before = this.current.get(code);
    const warning = { code, message, detail, since: before?.since ?? this.wall() };
    this.current.set(code, warning);
    if (isToldElsewhere) this.silent.add(code);
    else if (before === undefined) this.onChange(warning, true);
    if (before?.message !== message || before.detail !== detail) this.onOwn();
  }

  /** Clears a warning; does nothing where there is none. */
  clear(code: string): void {
    const before = this.current.get(code);
    if (before === undefined) return;
    this.current.delete(code);
    if (!this.silent.delete(code)) this.onChange(before, false);
    this.onOwn();
  }

  /** Takes over all that another process of this gateway warns of, for `milliseconds` at most: one that has died says nothing more. */
  hear(from: string, warnings: readonly Warning[], milliseconds: number): void {
    if (warnings.length === 0) this.others.delete(from);
    else this.others.set(from, { warnings, until: this.wall() + milliseconds });
  }

  /** Lists the warnings of this process, oldest first. */
  own(): readonly Warning[] {
    return [...this.current.values()];
  }

  /** Lists the warnings of all processes, each kind once, oldest first. */
  all(): readonly Warning[] {
    if (this.others.size === 0) return this.own();
    const merged = new Map(this.current);
    for (const [from, { warnings, until }] of this.others) {
      if (this.wall() >= until) this.others.delete(from);
      else for (const warning of warnings) merged.set(warning.code, mergedWith(merged.get(warning.code), warning));
    }
    return [...merged.values()].sort((a, b) => a.since - b.since);
  }
}

/** Gives one warning for two of the same kind, with the details of both. */
function mergedWith(known: Warning | undefined, other: Warning): Warning {
  if (known === undefined) return other;
  const details = [known.detail, other.detail].filter((detail) => detail !== null);
  const detail = details.length === 0 ? null : [...new Set(details.flatMap((each) => each.split(BETWEEN)))].join(BETWEEN);
  return { ...known, detail, since: Math.min(known.since, other.since) };
}

const BETWEEN = "; ";
