import { readdirSync } from "node:fs";
import type { Descriptors } from "./descriptors.ts";

/** The codes of systems for a want of descriptors, memory or ports of this process or machine. */
const OURS = new Set(["EMFILE", "ENFILE", "ENOMEM", "ENOBUFS", "EADDRNOTAVAIL", "EAGAIN"]);
/** The number of files besides sockets that a process may have open; only when the limit is nearer than this are all of them counted. */
const FILES = 256;
/** Descriptors that may have become free since the connect failed. */
const SPARE = 4;

/**
 * Tells whether a connect failed for want of something of our own. Bun gives the code of a refused connection where no descriptor was left,
 * so that only a look at what is open can tell.
 */
export function isOutOfDescriptors(code: string | undefined, descriptors: Descriptors): boolean {
  if (code !== undefined && OURS.has(code)) return true;
  if (code !== "ECONNREFUSED") return false;
  if (descriptors.isShort) return true;
  if (descriptors.sockets + FILES < descriptors.limit) return false;
  try {
    return readdirSync("/proc/self/fd").length + SPARE >= descriptors.limit;
  } catch (error) {
    // To count them takes one as well. On a system without /proc the count of sockets has to do.
    return OURS.has((error as { code?: string }).code ?? "");
  }
}
