/**
 * Reads a load script's options, each `--name VALUE`. Prints `usage` for --help and ends; ends with 2 for an option that `usage` does not name, or that lacks its value.
 */
export function loadOptions(program: string, usage: string) {
  const known = new Set([...usage.matchAll(/--([a-z]+)/g)].map(([, name]) => name));
  const given = new Map<string, string>();
  const fail = (message: string): never => {
    console.error(`${program}: ${message}; --help lists the options`);
    process.exit(2);
  };
  const words = Bun.argv.slice(2);
  if (words.includes("--help") || words.includes("-h")) {
    console.log(usage);
    process.exit(0);
  }
  for (let i = 0; i < words.length; i += 2) {
    const [word = "", value] = words.slice(i);
    if (!word.startsWith("--") || !known.has(word.slice(2))) fail(`there is no option ${word}`);
    if (value === undefined || value.startsWith("--")) fail(`${word} needs a value`);
    given.set(word.slice(2), value as string);
  }
  return {
    text: (name: string): string | undefined => given.get(name),
    number: (name: string, otherwise: number): number => {
      const value = Number(given.get(name) ?? otherwise);
      return Number.isFinite(value) && value > 0 ? value : fail(`--${name} must be a number above 0`);
    },
  };
}

/** Waits that a 429 asks for by Retry-After, in milliseconds. */
export const retryAfter = (answer: Response): number => Math.max(1, Number(answer.headers.get("retry-after")) || 1) * 1000;
