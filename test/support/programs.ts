import * as bun from "bun:test";
import { existsSync, readdirSync } from "node:fs";
import { mayMount } from "./disk.ts";

/** Programs of others that some tests need, and how to get them on Debian. */
const INSTALL = {
  "redis-server": "apt-get install redis-server",
  "redis-cli": "apt-get install redis-server",
  prometheus: "apt-get install prometheus",
  promtool: "apt-get install prometheus",
  chromium: "apt-get install chromium",
  skopeo: "apt-get install skopeo",
  nginx: "apt-get install nginx-light",
  caddy: "apt-get install caddy",
  haproxy: "apt-get install haproxy",
  postgres: "apt-get install postgresql",
  curl: "apt-get install curl",
  openssl: "apt-get install openssl",
  python3: "apt-get install python3",
  git: "apt-get install git",
  pebble: "apt-get install pebble",
  npm: "install Node.js",
  java: "apt-get install default-jre-headless",
  javac: "apt-get install default-jdk-headless",
  go: "apt-get install golang-go",
  node: "install Node.js",
  nghttp: "apt-get install nghttp2-client",
  h2load: "apt-get install nghttp2-client",
  mvn: "apt-get install maven",
  prlimit: "apt-get install util-linux, on Linux",
  // Not programs alone: what they do takes root.
  setpriv: "run the tests as root, on Linux",
  mount: "run the tests as root, on Linux",
} as const;
export type Program = keyof typeof INSTALL;

/** Names under which a program is installed, where it has several. */
const NAMES: Partial<Record<Program, readonly string[]>> = {
  chromium: ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "microsoft-edge"],
};

const DEBIAN_POSTGRES = "/usr/lib/postgresql";
const POSTGRES = existsSync(DEBIAN_POSTGRES)
  ? readdirSync(DEBIAN_POSTGRES)
      .sort((a, b) => Number(b) - Number(a))
      .map((version) => `${DEBIAN_POSTGRES}/${version}/bin`)
  : [];

/** Servers lie where only root's PATH leads, and Debian's PostgreSQL, of which there may be several, where nobody's does. */
const PATH = [process.env.PATH, "/usr/sbin", "/usr/local/sbin", ...POSTGRES].join(":");

/** Gives where a program is on the PATH; `null` when it is not there, or may not do its work. */
export function programAt(program: Program): string | null {
  if (program === "mount" && !mayMount()) return null;
  if (program === "setpriv" && process.getuid?.() !== 0) return null;
  return (NAMES[program] ?? [program]).map((name) => Bun.which(name, { PATH })).find((path) => path !== null) ?? null;
}

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
