import pino, { type Logger } from "pino";
import { print } from "./stdout.ts";

export type { Logger };

/** Bytes that may wait for stdout before they are written at once. */
const FLUSH_AT = 65_536;
const FLUSH_EVERY = 20;

/** Lines on their way to stdout, written in batches so that a request does not pay for a system call. */
export class Output {
  private waiting = "";
  private timer: Timer | null = null;

  write(text: string): void {
    this.waiting += text;
    if (this.waiting.length >= FLUSH_AT) this.flush();
    else this.timer ??= setTimeout(() => this.flush(), FLUSH_EVERY);
  }

  /** Writes all that waits. */
  flush(): void {
    if (this.timer !== null) clearTimeout(this.timer);
    this.timer = null;
    const { waiting } = this;
    this.waiting = "";
    print(waiting);
  }
}

export interface LogOptions {
  readonly level: string;
  /** May be changed while the log is written. */
  format: "json" | "pretty";
}

/** The gateway's log: one JSON object a line, or a line for people. Level names as in pino. */
export function createLog(options: LogOptions, output: Output): Logger {
  return pino(
    {
      level: options.level,
      base: null,
      messageKey: "msg",
      timestamp: () => `,"time":"${new Date().toISOString()}"`,
      formatters: { level: (label) => ({ level: label }) },
    },
    { write: (line: string) => output.write(options.format === "pretty" ? pretty(line) : line) },
  );
}

const COLOURS: Readonly<Record<string, string>> = { error: "\x1b[31m", fatal: "\x1b[31m", warn: "\x1b[33m", info: "\x1b[32m" };

/** `12:34:56.789 INFO  message key=value …` */
export function pretty(line: string): string {
  const { time, level, msg, ...rest } = JSON.parse(line) as Record<string, unknown>;
  const colour = process.stdout.isTTY ? (COLOURS[String(level)] ?? "") : "";
  const pairs = Object.entries(rest).map(([key, value]) => `${key}=${typeof value === "string" ? value : JSON.stringify(value)}`);
  return `${String(time).slice(11, 23)} ${colour}${String(level).toUpperCase().padEnd(5)}${colour ? "\x1b[0m" : ""} ${[msg, ...pairs].join(" ")}\n`;
}
