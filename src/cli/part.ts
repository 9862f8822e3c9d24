import type { TlsInForce } from "../edge/certificates.ts";
import type { ListenerName } from "../gateway/places.ts";
import type { TablePlace } from "../gateway/shared-table.ts";
import type { FromProcess, ToProcess } from "../shared/process-bus.ts";

/** What a process of several is to be: the supervisor's first message to it. */
export interface Part {
  readonly role: "keeper" | "worker";
  /** "keeper", or the worker's number from 1 on. */
  readonly self: string;
  /** Tells this start of the gateway from others. */
  readonly run: string;
  /** The configuration in force. */
  readonly text: string;
  readonly file: string | null;
  /** The faults of the file, where `text` is the configuration that was in force last. */
  readonly fileFaults: readonly { readonly path: readonly (string | number)[]; readonly message: string }[];
  readonly host: string;
  /** The main port. */
  readonly port: number;
  /** The sockets that a worker inherits, in the order of their descriptors from `FIRST_DESCRIPTOR` on; the keeper has its own alone there. */
  readonly sockets: readonly { readonly name: ListenerName; readonly port: number }[];
  readonly databasePath: string;
  readonly folder: string | undefined;
  readonly mayStandIn: boolean;
  readonly reusePort: boolean;
  /** The path of the keeper's socket. */
  readonly keeperSocket: string;
  /** The file that says how many connections each worker has and whether the keeper serves, and how many workers there are. */
  readonly connections: string;
  readonly workers: number;
  /** The table in which all processes count, and the ticket with which this one joins it; `null` with Redis. */
  readonly table: TablePlace | null;
  /** How often each process was started anew, by its name. */
  readonly restarts: Readonly<Record<string, number>>;
  /** The port of the demo's backend; 0: none yet. */
  readonly demoPort: number;
  /** What https was served with last: it serves on while a file is broken. */
  readonly tls: TlsInForce;
}

/** What the supervisor says to a process of it. */
export type ToPart =
  | ToProcess
  | { readonly kind: "begin"; readonly part: Part }
  | { readonly kind: "reload" }
  /** All stop: what would go on for ever ends now. */
  | { readonly kind: "drain" }
  | { readonly kind: "stop" }
  | { readonly kind: "restarts"; readonly restarts: Part["restarts"] };

/** What a process says to the supervisor. */
export type FromPart =
  | FromProcess
  /** It takes requests from here on. */
  | { readonly kind: "ready"; readonly demoUrl: string | null; readonly firstToken: string | null; readonly link: string | null }
  /** It has another configuration in force: whoever begins from here on begins with that. */
  | { readonly kind: "inForce"; readonly text: string }
  /** It has other certificates in force: likewise. */
  | { readonly kind: "certificates"; readonly inForce: TlsInForce }
  /** The keeper can't start with the file's configuration: the one that was in force last is to stand in. */
  | { readonly kind: "standsIn"; readonly text: string; readonly fileFaults: Part["fileFaults"] };

/** The first of the descriptors by which a process inherits sockets. */
export const FIRST_DESCRIPTOR = 3;

/**
 * The status with which a worker ends that can't have in force what all others have, since that was just being changed: another one begins with what is in
 * force then. sysexits(3) has it for what is worth another try.
 */
export const APART = 75;
