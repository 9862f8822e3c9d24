import { dlopen, FFIType, ptr } from "bun:ffi";

/** The C library by its names: GNU's and musl's. */
const LIBRARIES = ["libc.so.6", `libc.musl-${process.arch === "arm64" ? "aarch64" : "x86_64"}.so.1`];

/** Sets options of one socket (setsockopt(2)), each as level, name and value. False where one could not be set, or where the system is not Linux. */
export function setSocketOptions(
  descriptor: number,
  options: readonly (readonly [level: number, name: number, value: Uint8Array])[],
): boolean {
  if (process.platform !== "linux") return false;
  for (const library of LIBRARIES) {
    try {
      using c = open(library);
      return options.every(([level, name, value]) => c.setsockopt(descriptor, level, name, ptr(value), value.length) === 0);
    } catch {
      // Not this library: the next one.
    }
  }
  return false;
}

function open(name: string) {
  const { symbols, close } = dlopen(name, {
    setsockopt: { args: [FFIType.i32, FFIType.i32, FFIType.i32, FFIType.ptr, FFIType.u32], returns: FFIType.i32 },
  });
  return { setsockopt: symbols.setsockopt, [Symbol.dispose]: close };
}
