import type { Fault, Path } from "../schema/faults.ts";
import { IDENTIFIER } from "../schema/fields.ts";

/** Says which names the records of a kind may have: they stand in header fields and logs. */
export interface NameRule {
  readonly pattern: string;
  /** Says in words what the pattern takes. */
  readonly expects: string;
  /** Gives what else is wrong with a name. */
  readonly faults: (name: string, at: Path) => Fault[];
}

/** The names of most records. */
export const IDENTIFIERS: NameRule = {
  pattern: IDENTIFIER,
  expects: "1 to 128 letters, digits and . _ @ : -, beginning with a letter or digit",
  faults: () => [],
};

/** Gives what is wrong with a name. */
export const nameFaults = ({ pattern, expects, faults }: NameRule, name: string, at: Path): Fault[] =>
  new RegExp(pattern).test(name) ? faults(name, at) : [{ path: at, message: `must be ${expects}`, isOfName: true }];
