import { dlopen, FFIType, ptr } from "bun:ffi";

/** What Bun's sockets don't offer: calls of the system, by their descriptors. */

const POLLIN = 0x01;
/** MSG_PEEK | MSG_DONTWAIT, Linux. */
const LOOK = 0x42;

/** The C library by its names: GNU's and musl's, and Apple's. */
const LIBRARIES =
  process.platform === "linux"
    ? ["libc.so.6", `libc.musl-${process.arch === "arm64" ? "aarch64" : "x86_64"}.so.1`]
    : process.platform === "darwin"
      ? ["libSystem.B.dylib"]
      : [];

/** `null` where the system has no such library. Opened when it is first asked for. */
let library: ReturnType<typeof open> | null | undefined;
const kernel = (): ReturnType<typeof open> | null => {
  if (library === undefined) library = firstOf(LIBRARIES);
  return library;
};

/** One `struct pollfd`: a descriptor, what is asked, what is answered. */
const question = new DataView(new ArrayBuffer(8));
const answer = new Uint8Array(question.buffer);

/**
 * Whether nothing has come on an idle connection: no bytes, no end, no reset. The kernel knows of a close before its event is dispatched here. `null` where it can't be asked.
 * About half a microsecond (https://man7.org/linux/man-pages/man2/poll.2.html).
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

/** True when bytes have arrived on a socket that were not read yet (recv(2)). False where that can't be told. */
export function hasUnreadBytes(descriptor: number | undefined): boolean {
  if (process.platform !== "linux" || descriptor === undefined || !(descriptor >= 0)) return false;
  const calls = kernel();
  return calls !== null && Number(calls.recv(descriptor, ptr(one), 1, LOOK)) > 0;
}

/** An option of a socket: level, name and value. */
export type SocketOption = readonly [level: number, name: number, value: Uint8Array];

/** Sets options of one socket (setsockopt(2)). False where one could not be set, or where the system is not Linux. */
export function setSocketOptions(descriptor: number, options: readonly SocketOption[]): boolean {
  if (process.platform !== "linux" || !(descriptor >= 0)) return false;
  const calls = kernel();
  return (
    calls !== null && options.every(([level, name, value]) => calls.setsockopt(descriptor, level, name, ptr(value), value.length) === 0)
  );
}

function firstOf(names: readonly string[]): ReturnType<typeof open> | null {
  for (const name of names) {
    try {
      return open(name);
    } catch {
      // Not this library: the next one.
    }
  }
  return null;
}

const open = (name: string) =>
  dlopen(name, {
    poll: { args: [FFIType.ptr, FFIType.u32, FFIType.i32], returns: FFIType.i32 },
    recv: { args: [FFIType.i32, FFIType.ptr, FFIType.u64, FFIType.i32], returns: FFIType.i64 },
    setsockopt: { args: [FFIType.i32, FFIType.i32, FFIType.i32, FFIType.ptr, FFIType.u32], returns: FFIType.i32 },
  }).symbols;
