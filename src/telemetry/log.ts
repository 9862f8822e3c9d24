import pino, { type Logger } from "pino";
import type { Clock } from "../values/clock.ts";
import { printable, type Redactor } from "../values/redact.ts";
import { AccessLog } from "./access-log.ts";
import type { Output } from "./output.ts";
import { pretty } from "./pretty.ts";
import type { Level, LoggingConfig } from "./settings.ts";

export type { Logger };

/** What of the log may be changed while it is written. */
export interface LogSettings {
  readonly level: Level;
  readonly accessLog: boolean;
  /** The share of requests below 400 that get a line, 0 to 1. */
  readonly accessLogSample: number;
}

export interface LogState extends LogSettings {
  /** How lines are written now: "auto" is decided. */
  readonly format: "json" | "pretty";
  /** When what was set by hand ends, in milliseconds since 1970; `null`: not by itself. */
  readonly until: number | null;
  readonly dropped: Readonly<Output["dropped"]>;
}

export interface LogDeps {
  readonly output: Output;
  readonly clock: Clock;
  /** Numbers from 0 up to 1. */
  readonly random: () => number;
  readonly redactor: Redactor;
  /** SLUICE_LOG_LEVEL, which beats the configuration. */
  readonly level: Level | undefined;
  /** What the lines are written to; left out: no terminal. */
  readonly terminal?: { readonly isTerminal: boolean; readonly hasColour: boolean };
}

/** Writes the gateway's log: one JSON object a line, or a line for people. Level names as in pino. */
export class Log {
  readonly logger: Logger;
  /** `null`: requests get no lines. */
  accessLog: AccessLog | null = null;
  /** Called when requests get their lines otherwise than before. */
  onChange: () => void = () => {};
  /** What a person has set, until it is taken back or its time is over. */
  private byHand: Partial<LogSettings> = {};
  private until: number | null = null;

  constructor(
    private readonly deps: LogDeps,
    private config: LoggingConfig,
  ) {
    const { output, redactor } = deps;
    this.logger = pino(
      {
        base: null,
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

  /** Another configuration is in force; what was set by hand stays. */
  configure(config: LoggingConfig): void {
    this.config = config;
    this.apply();
  }

  /** Sets this by hand, for `ttl` milliseconds or, with `null`, until it is taken back. That holds for all that was set so; without it an earlier one stays. */
  set(settings: Partial<LogSettings>, ttl?: number | null): void {
    this.byHand = { ...this.byHand, ...settings };
    if (ttl !== undefined) this.until = ttl === null ? null : this.deps.clock.wall() + ttl;
    this.apply();
  }

  /** Takes back what was set by hand. */
  reset(): void {
    this.byHand = {};
    this.until = null;
    this.apply();
  }

  /** Takes back what was set by hand when its time is over; for a timer. */
  look(): void {
    if (this.until !== null && this.deps.clock.wall() >= this.until) this.reset();
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
