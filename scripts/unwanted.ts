import type { BunPlugin } from "bun";

/** Packages that others use where they are there, and the binary does not have: Elysia looks into uploaded files with file-type, and no endpoint takes any. */
export const UNWANTED: readonly string[] = ["file-type"];

/** Leaves them out of a build: with what it brings along file-type would take half a megabyte. */
export const withoutUnwanted: BunPlugin = {
  name: "without-unwanted",
  setup(build) {
    build.onResolve({ filter: new RegExp(`^(${UNWANTED.join("|")})$`) }, ({ path }) => ({ path, namespace: "unwanted" }));
    build.onLoad({ filter: /.*/, namespace: "unwanted" }, () => ({ contents: "", loader: "js" }));
  },
};
