import pino, { type Logger } from "pino";
import type { Clock } from "../values/clock.ts";
import { printable, type Redactor } from "../values/redact.ts";
import { AccessLog } from "./access-log.ts";
import type { Output } from "./output.ts";
import { pretty } from "./pretty.ts";
import type { Level, LoggingConfig } from "./settings.ts";

export type { Logger };

/** Holds the settings of the log that may be changed while it is written. */
export interface LogSettings {
  readonly level: Level;
  readonly accessLog: boolean;
  /** The share of requests below 400 that get a line, 0 to 1. */
  readonly accessLogSample: number;
}

export interface LogState extends LogSettings {
  /** The form of the lines now: "auto" is decided. */
  readonly format: "json" | "pretty";
  /** The end of the settings made by hand, in milliseconds since 1970; `null`: they do not end by themselves. */
  readonly until: number | null;
  readonly dropped: Readonly<Output["dropped"]>;
}

/** Holds the settings that a person has made, and their end in milliseconds since 1970; `null`: they do not end by themselves. */
export interface LogHand {
  readonly settings: Partial<LogSettings>;
  readonly until: number | null;
}

export interface LogDeps {
  readonly output: Output;
  readonly clock: Clock;
  /** Gives random numbers from 0 up to 1. */
  readonly random: () => number;
  readonly redactor: Redactor;
  /** The level in SLUICE_LOG_LEVEL, which beats the configuration. */
  readonly level: Level | undefined;
  /** The name of the process among several workers, which stands in the lines of events; left out or `null`: in none. */
  readonly worker?: string | null;
  /** The terminal that the lines are written to; left out: it is none. */
  readonly terminal?: { readonly isTerminal: boolean; readonly hasColour: boolean };
}

/** Writes the gateway's log: one JSON object a line, or a line for people. Level names as in pino. */
export class Log {
  readonly logger: Logger;
  /** Writes the lines of requests; `null`: requests get no lines. */
  accessLog: AccessLog | null = null;
  /** Tells that requests get their lines otherwise than before. */
  onChange: () => void = () => {};
  /** Tells that a person has changed the settings here, or has taken them back. */
  onHand: (hand: LogHand) => void = () => {};
  /** The settings that a person has made, until they are taken back or their time is over. */
  private byHand: Partial<LogSettings> = {};
  private until: number | null = null;

  constructor(
    private readonly deps: LogDeps,
    private config: LoggingConfig,
  ) {
    const { output, redactor } = deps;
    this.logger = pino(
      {
        base: deps.worker == null ? null : { worker: deps.worker },
        messageKey: "msg",
        timestamp: () => `,"time":"${new Date(deps.clock.wall()).toISOString()}"`,
        formatters: { level: (label) => ({ level: label }) },
      },
      { write: (line: string) => output.write(this.formatted(printable(redactor.redact(line))), "events") },
    );
    output.onCaughtUp = (dropped) =>
      this.logger.warn({ dropped }, "lines of the log were dropped: whatever reads stdout was too slow, or gone");
    this.apply();
  }

  get settings(): LogSettings {
    const { level, accessLog, accessLogSample } = this.config;
    return { level: this.deps.level ?? level, accessLog, accessLogSample, ...this.byHand };
  }

  get state(): LogState {
    return { ...this.settings, format: this.format, until: this.until, dropped: this.deps.output.dropped };
  }

  /** Takes another configuration over; settings made by hand stay. */
  configure(config: LoggingConfig): void {
    this.config = config;
    this.apply();
  }

  /**
   * Sets these settings by hand, for `ttl` milliseconds or, with `null`, until they are taken back. The time holds for all settings made by
   * hand; without `ttl` an earlier one stays.
   */
  set(settings: Partial<LogSettings>, ttl?: number | null): void {
    this.byHand = { ...this.byHand, ...settings };
    if (ttl !== undefined) this.until = ttl === null ? null : this.deps.clock.wall() + ttl;
    this.apply();
    this.onHand(this.hand);
  }

  /** Takes back the settings made by hand. */
  reset(): void {
    this.follow({ settings: {}, until: null });
    this.onHand(this.hand);
  }

  /** What a person has set here. */
  get hand(): LogHand {
    return { settings: this.byHand, until: this.until };
  }

  /** Takes over what a person has set at another process of this gateway. */
  follow({ settings, until }: LogHand): void {
    this.byHand = settings;
    this.until = until;
    this.apply();
  }

  /** Takes back the settings made by hand when their time is over; for a timer. */
  look(): void {
    // Each process does so by itself.
    if (this.until !== null && this.deps.clock.wall() >= this.until) this.follow({ settings: {}, until: null });
  }

  private apply(): void {
    const { level, accessLog, accessLogSample } = this.settings;
    this.logger.level = level;
    const { output, clock, random } = this.deps;
    this.accessLog =
      accessLog && this.logger.isLevelEnabled("error")
        ? new AccessLog((line) => output.write(this.formatted(line), "requests"), {
            clock,
            random,
            sample: accessLogSample,
            isOfFailures: !this.logger.isLevelEnabled("info"),
          })
        : null;
    this.onChange();
  }

  private get format(): "json" | "pretty" {
    const { format } = this.config;
    return format !== "auto" ? format : this.deps.terminal?.isTerminal === true ? "pretty" : "json";
  }

  private formatted(line: string): string {
    return this.format === "pretty" ? pretty(line, this.deps.terminal?.hasColour) : line;
  }
}
