import { dlopen, type FFIFunction, type Library } from "bun:ffi";

/** The names of the C library: GNU's and musl's, and Apple's. */
const LIBRARIES =
  process.platform === "linux"
    ? ["libc.so.6", `libc.musl-${process.arch === "arm64" ? "aarch64" : "x86_64"}.so.1`]
    : process.platform === "darwin"
      ? ["libSystem.B.dylib"]
      : [];

/** Opens functions of the C library; `null` where the system has none that is known here, or it lacks one of them. */
export function openLibc<const F extends Readonly<Record<string, FFIFunction>>>(functions: F): Library<F>["symbols"] | null {
  for (const name of LIBRARIES) {
    try {
      return dlopen(name, functions).symbols;
    } catch {
      // Not this library: the next one.
    }
  }
  return null;
}
