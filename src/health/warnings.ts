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
  }

  /** Clears a warning; does nothing where there is none. */
  clear(code: string): void {
    const before = this.current.get(code);
    if (before === undefined) return;
    this.current.delete(code);
    if (!this.silent.delete(code)) this.onChange(before, false);
  }

  /** Lists the warnings, oldest first. */
  all(): readonly Warning[] {
    return [...this.current.values()];
  }
}
