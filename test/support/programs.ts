import * as bun from "bun:test";

/** Programs of others that some tests need, and how to get them on Debian. */
const INSTALL = {
  "redis-server": "apt-get install redis-server",
  "redis-cli": "apt-get install redis-server",
  prometheus: "apt-get install prometheus",
  promtool: "apt-get install prometheus",
  chromium: "apt-get install chromium",
  skopeo: "apt-get install skopeo",
} as const;
export type Program = keyof typeof INSTALL;

/** Names under which a program is installed, where it has several. */
const NAMES: Partial<Record<Program, readonly string[]>> = {
  chromium: ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "microsoft-edge"],
};

/** Gives where a program is on the PATH; `null` when it is not there. */
export const programAt = (program: Program): string | null =>
  (NAMES[program] ?? [program]).map((name) => Bun.which(name)).find((path) => path !== null) ?? null;

type Tests = Pick<typeof bun, "describe" | "test" | "beforeAll" | "afterAll">;

/**
 * Gives what registers tests and hooks, for tests that need programs of others. Where one is missing they are skipped under a name by which test/ci.ts knows why:
 * it tells how many tests can't run and how to get the program, and counts them as failed in CI.
 */
export function having(...programs: readonly Program[]): Tests {
  const missing = programs.find((program) => programAt(program) === null);
  if (missing === undefined) return bun;
  const mark = ` [${missing} is not here: ${INSTALL[missing]}]`;
  type Register = (name: string, ...rest: unknown[]) => unknown;
  const skipping = (skip: unknown) =>
    Object.assign((name: string, ...rest: unknown[]) => (skip as Register)(name + mark, ...rest), {
      each:
        (cases: unknown) =>
        (name: string, ...rest: unknown[]) =>
          (skip as { each: (cases: unknown) => Register }).each(cases)(name + mark, ...rest),
    });
  const nothing = () => {};
  return {
    describe: skipping(bun.describe.skip),
    test: skipping(bun.test.skip),
    beforeAll: nothing,
    afterAll: nothing,
  } as unknown as Tests;
}
