/** Says how one process of the gateway does. */
export interface ProcessNumbers {
  /** "keeper", or the worker's number; "1" for a gateway of one process. */
  readonly worker: string;
  readonly pid: number;
  /** Milliseconds since 1970 at which it began. */
  readonly since: number;
  /** Connections of clients that are open. */
  readonly connections: number;
  /** Requests of callers that have ended since it began. */
  readonly requests: number;
  /** Bytes of main memory. */
  readonly memory: number;
  /** Responses that its cache keeps. */
  readonly cached: number;
}
