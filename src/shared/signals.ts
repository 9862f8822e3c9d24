import type { HealthState } from "../health/health.ts";
import { Halves } from "../values/halves.ts";
import type { Bus } from "./bus.ts";

/** Says what the system's status is. Who does not tell since when, or of how many changes, leaves that out. */
export type HealthSignal = Pick<HealthState, "status" | "by" | "reason" | "until"> & Partial<Pick<HealthState, "since" | "changes">>;

/** Says what is told of a target's breaker. */
export interface BreakerSignal {
  readonly upstream: string;
  readonly url: string;
  readonly state: "open" | "closed";
  /** True when a person opened it. */
  readonly isHeld: boolean;
  /** True when a person opened or closed it. */
  readonly isByHand: boolean;
  /** Probes that have failed since it was closed last. */
  readonly failedProbes: number;
  /** The time of the change, by this machine's clock. */
  readonly since: number;
}

/** Says what health checks have found out about a target. */
export interface TargetSignal {
  readonly upstream: string;
  readonly url: string;
  readonly isHealthy: boolean;
  /** True when one has passed since the start. */
  readonly hasPassed: boolean;
  /** The time at which the one began that has passed last, by this machine's clock; `null`: the last one did not pass. */
  readonly began: number | null;
  readonly why: string;
}

/** Passes on what all must know at once: the system's status, which targets are cut off, and which are found up or down. */
export interface Signals {
  sayHealth(signal: HealthSignal): void;
  sayBreaker(signal: BreakerSignal): void;
  sayTarget(signal: TargetSignal): void;
  /** Takes over what others have said; once at the start, and whenever it must be known now. */
  look(): Promise<void>;
  close(): void;
}

/**
 * Says what became of a signal: followed; held, for a person here has opened the breaker, which holds; or unknown, for there is no such
 * target.
 */
export type Heard = "followed" | "held" | "unknown";

/** Acts on what others say. */
export interface SignalsHearer {
  onHealth(signal: HealthSignal): void;
  onBreaker(signal: BreakerSignal): Heard;
  onTarget(signal: TargetSignal): Heard;
}

/** Holds all that there is to say now. */
export interface Present {
  /** `null`: nobody has ever set it. */
  readonly health: HealthSignal | null;
  readonly breakers: readonly BreakerSignal[];
  readonly targets: readonly TargetSignal[];
}

export interface BusSignalsDeps {
  readonly bus: Bus;
  readonly hearer: SignalsHearer;
  readonly present: () => Present;
  readonly onFault: (error: unknown) => void;
}

type Said =
  | { readonly kind: "health"; readonly what: HealthSignal }
  | { readonly kind: "breaker"; readonly what: BreakerSignal }
  | { readonly kind: "target"; readonly what: TargetSignal };

/**
 * Orders what is said of one thing: whoever says something takes a number above all that it has heard, and no less than the time, since a process
 * that has just begun has not heard of everything. Of two that were said at once the name decides, so that all agree.
 */
interface Version {
  /** Milliseconds since 1970, or more. */
  readonly number: number;
  readonly by: string;
}

type Told = Said & { readonly version: Version };

const SIGNAL = "signal";
const PRESENT = "signals";
/** Milliseconds that a start waits for the others to say what is. */
const LOOK_WITHIN = 1000;
/** The most things of which the version is remembered, and the most targets that are told of before they are known here. */
const MAX_VERSIONS = 100_000;
const MAX_EARLY = 10_000;

/** Passes signals on between the processes of one gateway. What is said holds in all of them as soon as the message is there. */
export class BusSignals implements Signals {
  private readonly versions = new Halves<string, Version>(MAX_VERSIONS);
  /** What was said of targets that are not known here yet: a change of the configuration is on its way. */
  private readonly early = new Map<string, Said>();
  /** The greatest number that was said or heard. */
  private latest = 0;

  constructor(private readonly deps: BusSignalsDeps) {
    const { bus, present } = deps;
    bus.hear<Told>(SIGNAL, (told) => this.take(told));
    bus.answer(PRESENT, () => {
      const { health, breakers, targets } = present();
      return [
        ...(health === null ? [] : [this.withVersion({ kind: "health", what: health })]),
        ...breakers.map((what) => this.withVersion({ kind: "breaker", what })),
        ...targets.map((what) => this.withVersion({ kind: "target", what })),
      ];
    });
  }

  sayHealth(what: HealthSignal): void {
    this.say({ kind: "health", what });
  }

  sayBreaker(what: BreakerSignal): void {
    this.say({ kind: "breaker", what });
  }

  sayTarget(what: TargetSignal): void {
    this.say({ kind: "target", what });
  }

  async look(): Promise<void> {
    for (const all of await this.deps.bus.askAll<readonly Told[]>(PRESENT, null, LOOK_WITHIN)) for (const told of all) this.take(told);
  }

  /** Takes over what was said of targets before they were known here; after a change of the upstreams. */
  settle(): void {
    for (const [field, said] of this.early) if (this.apply(said) !== "unknown") this.early.delete(field);
  }

  close(): void {}

  private say(said: Said): void {
    const field = fieldOf(said);
    this.latest = Math.max(this.latest + 1, Date.now());
    const version: Version = { number: this.latest, by: this.deps.bus.self };
    this.versions.set(field, version);
    this.early.delete(field);
    this.deps.bus.tell(SIGNAL, { ...said, version } satisfies Told);
  }

  private withVersion(said: Said): Told {
    return { ...said, version: this.versions.get(fieldOf(said)) ?? { number: 0, by: "" } };
  }

  private take({ version, ...said }: Told): void {
    const field = fieldOf(said);
    this.latest = Math.max(this.latest, version.number);
    const known = this.versions.get(field);
    if (known !== undefined && (known.number > version.number || (known.number === version.number && known.by >= version.by))) return;
    this.versions.set(field, version);
    this.early.delete(field);
    if (this.apply(said) !== "unknown") return;
    if (this.early.size >= MAX_EARLY) this.early.delete(this.early.keys().next().value ?? "");
    this.early.set(field, said);
  }

  private apply(said: Said): Heard {
    const { hearer, onFault } = this.deps;
    try {
      if (said.kind === "target") return hearer.onTarget(said.what);
      if (said.kind === "health") {
        hearer.onHealth(said.what);
        return "followed";
      }
      const heard = hearer.onBreaker(said.what);
      // What a person has opened stays so in all processes.
      if (heard === "held") this.sayBreaker(held(said.what));
      return heard;
    } catch (error) {
      onFault(error);
      return "followed";
    }
  }
}

/** Gives what is said of a breaker that a person has opened. */
export const held = ({ upstream, url, since }: BreakerSignal): BreakerSignal => ({
  ...{ upstream, url, since },
  ...{ state: "open", isHeld: true, isByHand: true, failedProbes: 0 },
});

const fieldOf = (said: Said): string => (said.kind === "health" ? said.kind : `${said.kind}\n${said.what.upstream}\n${said.what.url}`);
