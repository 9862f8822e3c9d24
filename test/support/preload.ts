import { setDefaultTimeout } from "bun:test";
import { readFileSync } from "node:fs";
import { BOUND, patience } from "./patience.ts";

/** Runs before the first test file of a process, so that a file by itself has the same bound as in the suite. */

/** Whether whoever started this said how long tests may take. Bun hides its own flags from argv. */
function isBoundGiven(): boolean {
  try {
    return readFileSync("/proc/self/cmdline", "utf8")
      .split("\0")
      .some((argument) => argument.startsWith("--timeout"));
  } catch {
    return false;
  }
}

if (!isBoundGiven()) setDefaultTimeout(Number(process.env.SLUICE_TEST_TIMEOUT) || patience(BOUND));
