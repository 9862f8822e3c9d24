import type { Static, TSchema } from "@sinclair/typebox";
import type { Wanted } from "../exchange/own-paths.ts";
import type { Fault } from "../schema/faults.ts";
import type { Config } from "./schema.ts";

/** Names what settings may refer to, and what stands in a route's way. */
export interface Known {
  readonly tiers: ReadonlySet<string>;
  readonly upstreams: ReadonlySet<string>;
  readonly pools: ReadonlySet<string>;
  readonly issuers: ReadonlySet<string>;
  /** What there is of Sluice's own paths. */
  readonly wanted: Wanted;
  /** The path to which activities are posted; `null` while they are off. */
  readonly activities: string | null;
  /** True when the admin API has a listener of its own, so that its paths are free on the main port. */
  readonly hasAdminListener: boolean;
}

/** Holds what warnings are judged by besides a section's own settings. */
export interface Circumstances {
  readonly config: Config;
  /** The file's values, without defaults. */
  readonly given: unknown;
  /** The host on which the main port listens. */
  readonly host: string;
  /** Milliseconds since 1970. */
  readonly now: number;
}

/** Names what only a restart can change of a section: some of its fields, or all of it but some. */
export type Restart = { readonly fields: readonly string[] } | { readonly allBut: readonly string[] };

/**
 * Describes one field at the top of the configuration. The room whose capability it is brings it in its settings.ts; schema.ts lists all of
 * them. Paths of faults and warnings begin at the top of the file.
 */
export interface Section<Name extends string = string, Schema extends TSchema = TSchema> {
  readonly name: Name;
  /** Says what may stand in the section: types, bounds, defaults, descriptions, and which texts are secrets. */
  readonly schema: Schema;
  /** Gives what the schema can't say: how the values hang together, and names that refer to nothing. */
  faults?(settings: Static<Schema>, known: Known, config: Config): Fault[];
  /** Gives what is valid and hardly meant: told by `sluice check` and at the start, a fault with `--strict`. */
  warnings?(settings: Static<Schema>, circumstances: Circumstances): Fault[];
  /** The fields that need a restart; absent: a reload can change all of the section. */
  readonly restart?: Restart;
  /** Gives a fault for each change that only a restart can make and that `restart` can't say; paths begin at the top of the file. */
  fixed?(before: Static<Schema>, next: Static<Schema>): Fault[];
  /**
   * Fields by their place within the section (`*` is any name, `[]` any entry) that this version refuses unless their value switches the
   * feature off.
   */
  readonly notYet?: readonly string[];
}
