/** One fenced block of a page, and what stands behind its language. */
export interface Block {
  readonly language: string;
  /** The words behind the language, such as a file's name or `start`. */
  readonly words: readonly string[];
  readonly text: string;
  readonly line: number;
}

/** Reads the fenced blocks of a Markdown page, those in list items among them. */
export function blocksOf(markdown: string): Block[] {
  const blocks: Block[] = [];
  let open: { fence: string; indent: string; language: string; words: string[]; line: number; lines: string[] } | null = null;
  for (const [i, line] of markdown.split("\n").entries()) {
    const fence = /^(\s*)(`{3,})(.*)$/.exec(line);
    if (open === null) {
      if (fence === null) continue;
      const [language = "", ...words] = (fence[3] ?? "").trim().split(/\s+/);
      open = { fence: fence[2] ?? "```", indent: fence[1] ?? "", language, words, line: i + 1, lines: [] };
    } else if (line.trim() === open.fence) {
      const { language, words, lines } = open;
      blocks.push({ language, words, text: `${lines.join("\n")}\n`, line: open.line });
      open = null;
    } else open.lines.push(line.startsWith(open.indent) ? line.slice(open.indent.length) : line);
  }
  if (open !== null) throw new Error(`the block of line ${open.line} has no end`);
  return blocks;
}

/** One command of a `console` block and the output that stands below it. */
export interface Step {
  readonly command: string;
  /** `null`: nothing is said of the output. */
  readonly expected: string | null;
}

/** Takes a `console` block apart: lines that begin with `$ ` are commands, the others what they print. */
export function stepsOf(text: string): Step[] {
  const steps: { command: string; output: string[] }[] = [];
  let isOpen = false;
  for (const line of text.trimEnd().split("\n")) {
    const last = steps.at(-1);
    if (isOpen && last !== undefined) {
      last.command += `\n${line}`;
      isOpen = goesOn(last.command);
    } else if (line.startsWith("$ ")) {
      steps.push({ command: line.slice(2), output: [] });
      isOpen = goesOn(line);
    } else if (last === undefined) throw new Error(`output without a command: ${line}`);
    else last.output.push(line);
  }
  return steps.map(({ command, output }) => ({ command, expected: output.join("\n").trim() === "" ? null : output.join("\n").trim() }));
}

/** A command goes on in the next line behind a backslash, and within quotes. */
const goesOn = (command: string): boolean => command.endsWith("\\") || command.split("'").length % 2 === 0;

/** Whether `printed` holds what a page says, line for line; `…` stands for anything. */
export function isAsSaid(printed: string, expected: string): boolean {
  const pattern = expected
    .split("…")
    .map((part) =>
      part
        .trim()
        .replace(/[.*+?^${}()|[\]\\]/g, "\\$&")
        .replace(/\s+/g, "\\s*"),
    )
    .join("[\\s\\S]*?");
  return new RegExp(pattern).test(printed.replace(/\r/g, ""));
}
