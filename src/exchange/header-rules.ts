import type { HeadersConfig } from "./settings.ts";

/** Holds a route's rules for the header fields of one direction, made ready. */
export interface HeaderRules {
  /** The lower-case names of fields that are not passed on: removed ones, and those that are set anew. */
  readonly dropped: ReadonlySet<string>;
  /** The lines that are set, each ended by CRLF. */
  readonly lines: string;
}

const NONE: HeaderRules = { dropped: new Set(), lines: "" };

export function compileHeaderRules(config: HeadersConfig["request"], alsoDropped: readonly string[] = []): HeaderRules {
  const names = Object.keys(config.set);
  if (names.length === 0 && config.remove.length === 0 && alsoDropped.length === 0) return NONE;
  return {
    dropped: new Set([...names, ...config.remove, ...alsoDropped].map((name) => name.toLowerCase())),
    lines: names.map((name) => `${name}: ${config.set[name]}\r\n`).join(""),
  };
}
