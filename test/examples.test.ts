import { describe, expect, test } from "bun:test";
import { join } from "node:path";

const SOURCE = join(import.meta.dir, "../src");

/** An example that says what it gives: `parseDuration("5m"); // 300_000`. */
const EXAMPLE = /^ \* (\S.*); \/\/ (.+)$/;

interface Example {
  readonly file: string;
  readonly call: string;
  readonly result: string;
}

/** Finds the examples in docstrings that say what they give, each on one line below `@example`. */
async function examplesOf(file: string): Promise<Example[]> {
  const found: Example[] = [];
  for (const [, block = ""] of (await Bun.file(join(SOURCE, file)).text()).matchAll(/^ \* @example\n((?: \* .*\n)+) \*\/$/gm))
    for (const line of block.split("\n")) {
      const [, call, result] = EXAMPLE.exec(line) ?? [];
      if (call !== undefined && result !== undefined) found.push({ file, call, result });
    }
  return found;
}

const EXAMPLES = (await Promise.all([...new Bun.Glob("**/*.ts").scanSync(SOURCE)].sort().map(examplesOf))).flat();

describe("the examples in docstrings", () => {
  test("are found", () => {
    expect(EXAMPLES.length).toBeGreaterThan(5);
  });

  test.each(EXAMPLES)("$file: $call gives $result", async ({ file, call, result }) => {
    const exported: Record<string, unknown> = await import(join(SOURCE, file));
    const run = (text: string): unknown => new Function(...Object.keys(exported), `return (${text});`)(...Object.values(exported));
    expect(run(call)).toEqual(run(result));
  });
});
