import { FFIType, ptr } from "bun:ffi";
import { openLibc } from "../values/libc.ts";

/** System calls by a socket's descriptor, for what Bun's sockets don't offer. */

const POLLIN = 0x01;
/** The flags MSG_PEEK | MSG_DONTWAIT of Linux. */
const LOOK = 0x42;
/** The command F_DUPFD_CLOEXEC of Linux, and of macOS. */
const F_DUPFD_CLOEXEC = process.platform === "darwin" ? 67 : 1030;

/** The library, opened when it is first asked for; `null` where the system has none. */
let library: ReturnType<typeof open> | undefined;
const kernel = (): ReturnType<typeof open> => {
  if (library === undefined) library = open();
  return library;
};

/** One `struct pollfd`: a descriptor, the events that are asked for, and those that have come. */
const question = new DataView(new ArrayBuffer(8));
const answer = new Uint8Array(question.buffer);

/**
 * Tells whether nothing has come on an idle connection: no bytes, no end, no reset. The kernel knows of a close before its event is
 * dispatched here. `null` where the kernel can't be asked. Takes about half a microsecond
 * (https://man7.org/linux/man-pages/man2/poll.2.html).
 */
export function isQuiet(descriptor: number): boolean | null {
  const calls = kernel();
  if (calls === null || !(descriptor >= 0)) return null;
  question.setInt32(0, descriptor, true);
  question.setInt16(4, POLLIN, true);
  question.setInt16(6, 0, true);
  const count = calls.poll(ptr(answer), 1, 0);
  return count < 0 ? null : count === 0;
}

const one = new Uint8Array(1);

/** Tells whether bytes have arrived on a socket that were not read yet (recv(2)). False where that can't be told. */
export function hasUnreadBytes(descriptor: number | undefined): boolean {
  if (process.platform !== "linux" || descriptor === undefined || !(descriptor >= 0)) return false;
  const calls = kernel();
  return calls !== null && Number(calls.recv(descriptor, ptr(one), 1, LOOK)) > 0;
}

/** Describes an option of a socket: level, name and value. */
export type SocketOption = readonly [level: number, name: number, value: Uint8Array];

/** Sets options of one socket (setsockopt(2)). False where one could not be set, or where the system is not Linux. */
export function setSocketOptions(descriptor: number, options: readonly SocketOption[]): boolean {
  if (process.platform !== "linux" || !(descriptor >= 0)) return false;
  const calls = kernel();
  return (
    calls !== null && options.every(([level, name, value]) => calls.setsockopt(descriptor, level, name, ptr(value), value.length) === 0)
  );
}

/** Gives another descriptor of the same file or socket (dup(2)); children don't inherit it. Throws where there is none left. */
export function copyDescriptor(descriptor: number): number {
  const copy = kernel()?.fcntl(descriptor, F_DUPFD_CLOEXEC, 3) ?? -1;
  if (copy < 0) throw new Error(`descriptor ${descriptor} can't be copied: there are too many open files, or this system has no such call`);
  return copy;
}

const open = () =>
  openLibc({
    poll: { args: [FFIType.ptr, FFIType.u32, FFIType.i32], returns: FFIType.i32 },
    // The third argument is an int for the one command that is used.
    fcntl: { args: [FFIType.i32, FFIType.i32, FFIType.i32], returns: FFIType.i32 },
    recv: { args: [FFIType.i32, FFIType.ptr, FFIType.u64, FFIType.i32], returns: FFIType.i64 },
    setsockopt: { args: [FFIType.i32, FFIType.i32, FFIType.i32, FFIType.ptr, FFIType.u32], returns: FFIType.i32 },
  });
