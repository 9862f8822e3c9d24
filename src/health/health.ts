import type { Clock } from "../values/clock.ts";

export type SystemStatus = "NORMAL" | "DEGRADED";

export interface HealthState {
  readonly status: SystemStatus;
  /** Milliseconds since 1970. */
  readonly since: number;
  readonly by: string;
  readonly reason: string | null;
  /** The time at which it returns to NORMAL by itself, in milliseconds since 1970; `null` when it does not. */
  readonly until: number | null;
  /** The number of changes since the start. */
  readonly changes: number;
}

/** Keeps the system's status, NORMAL or DEGRADED, which decides how much each tier may do. */
export class SystemHealth {
  private state: HealthState;
  private degraded = false;

  constructor(
    private readonly clock: Clock,
    /**
     * Called with each change, and with the state before it; what it throws undoes the change. `isFollowed`: another instance made the
     * change.
     */
    private readonly onChange: (before: HealthState, after: HealthState, isFollowed: boolean) => void = () => {},
  ) {
    this.state = { status: "NORMAL", since: clock.wall(), by: "start", reason: null, until: null, changes: 0 };
  }

  get isDegraded(): boolean {
    // Computed when asked, so that no timer has to be on time.
    if (this.degraded && this.state.until !== null && this.clock.wall() >= this.state.until) this.recover();
    return this.degraded;
  }

  current(): HealthState {
    void this.isDegraded;
    return this.state;
  }

  /** Sets the status. `ttl`: milliseconds after which it is NORMAL again. `isFollowed`: another instance has set it. */
  set(status: SystemStatus, by: string, reason: string | null, ttl: number | null, isFollowed = false): HealthState {
    const now = this.clock.wall();
    return this.enter({ status, since: now, by, reason, until: status === "DEGRADED" && ttl !== null ? now + ttl : null }, isFollowed);
  }

  private recover(): void {
    this.enter({ status: "NORMAL", since: this.state.until ?? this.clock.wall(), by: "ttl", reason: null, until: null }, false);
  }

  private enter(state: Omit<HealthState, "changes">, isFollowed: boolean): HealthState {
    const after = { ...state, changes: this.state.changes + (this.state.status === state.status ? 0 : 1) };
    // First: a change that can't be written down does not happen.
    this.onChange(this.state, after, isFollowed);
    this.state = after;
    this.degraded = after.status === "DEGRADED";
    return after;
  }
}
