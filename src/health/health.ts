import type { HealthSignal } from "../shared/signals.ts";
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

/** Says who made a change: this process, another process of this gateway, or another instance. */
export type Origin = "here" | "process" | "instance";

/** Keeps the system's status, NORMAL or DEGRADED, which decides how much each tier may do. */
export class SystemHealth {
  private state: HealthState;
  private degraded = false;

  constructor(
    private readonly clock: Clock,
    /**
     * Called with each change, and with the state before it; what it throws undoes the change.
     */
    private readonly onChange: (before: HealthState, after: HealthState, origin: Origin) => void = () => {},
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

  /** Sets the status. `ttl`: milliseconds after which it is NORMAL again. */
  set(status: SystemStatus, by: string, reason: string | null, ttl: number | null): HealthState {
    const now = this.clock.wall();
    return this.enter({ status, since: now, by, reason, until: status === "DEGRADED" && ttl !== null ? now + ttl : null }, "here");
  }

  /** Follows what another has set. What is over by now is left alone. */
  follow({ status, by, reason, until, since, changes }: HealthSignal, origin: "process" | "instance"): void {
    const now = this.clock.wall();
    if (until !== null && until <= now) return;
    this.enter({ status, since: since ?? now, by, reason, until: status === "DEGRADED" ? until : null }, origin, changes);
  }

  private recover(): void {
    this.enter({ status: "NORMAL", since: this.state.until ?? this.clock.wall(), by: "ttl", reason: null, until: null }, "here");
  }

  private enter(state: Omit<HealthState, "changes">, origin: Origin, changes?: number): HealthState {
    const after = { ...state, changes: changes ?? this.state.changes + (this.state.status === state.status ? 0 : 1) };
    // First: a change that can't be written down does not happen.
    this.onChange(this.state, after, origin);
    this.state = after;
    this.degraded = after.status === "DEGRADED";
    return after;
  }
}
