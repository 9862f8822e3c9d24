import { plugin } from "bun";

// The table's source with a mark before each write, so that a process can be killed between any two; and versions that are broken on purpose.

const FOLDER = `${import.meta.dir}/../../../src/shared`;
/** The files that write into the shared memory while workers are at work. */
const FILES = ["table.ts", "columns.ts", "chunks.ts", "members.ts"];

export type Mutant = "none" | "uncommitted" | "in-place" | "back-to-the-same";

/** What a mutant has in the place of a line of the source. */
const MUTANTS: Readonly<Record<Exclude<Mutant, "none">, readonly [file: string, from: string, to: string]>> = {
  // Nobody is told that a step over several subjects was committed.
  uncommitted: ["table.ts", "Atomics.store(i32, this.record + RECORD.status, COMMITTED);", ""],
  // The next state is written over the one that counts.
  "in-place": ["table.ts", "(this.words[position] as number) + 1);", "this.words[position] as number);"],
  // What is chunk of a live state is given to others.
  "back-to-the-same": ["chunks.ts", "if (named !== chunk) return false;", "return false;"],
};

const ATOMIC = /\bAtomics\.(store|compareExchange|sub|add)\(/g;
/** A plain write that is a statement of its own. */
const PLAIN = /^\s*i32\[[^=]*\] = /;

/** Gives a file's source with marks, which are numbered from `first` on, and the number of the next. */
function marked(text: string, first: number): { readonly text: string; readonly next: number } {
  let site = first;
  const lines = text.split("\n");
  const result = lines.map((line, i) => {
    const withMarks = line.replaceAll(ATOMIC, (_, name) => `globalThis.marked.${name}(${site++}, `);
    const isStatement = /[;{}]\s*$/.test(lines[i - 1] ?? "");
    return PLAIN.test(withMarks) && isStatement ? `globalThis.marked.at(${site++}); ${withMarks}` : withMarks;
  });
  return { text: result.join("\n"), next: site };
}

async function sources(mutant: Mutant): Promise<{ readonly texts: ReadonlyMap<string, string>; readonly sites: number }> {
  const texts = new Map<string, string>();
  // Site 0 is that of the test's own writes.
  let site = 1;
  for (const file of FILES) {
    let source = await Bun.file(`${FOLDER}/${file}`).text();
    const change = mutant === "none" ? undefined : MUTANTS[mutant];
    if (change?.[0] === file) {
      const [, from, to] = change;
      if (source.split(from).length !== 2) throw new Error(`The line of the mutant ${mutant} is not in ${file}.`);
      source = source.replace(from, to);
    }
    const { text, next } = marked(source, site);
    texts.set(file, text);
    site = next;
  }
  return { texts, sites: site };
}

/** The number of marks. */
export const countSites = async (): Promise<number> => (await sources("none")).sites;

/** Loads the table with marks: `onMark` is called before each write with the number of its place in the source. */
export async function loadMarked(mutant: Mutant, onMark: (site: number) => void): Promise<void> {
  const { texts } = await sources(mutant);
  Object.assign(globalThis, {
    marked: {
      at: onMark,
      store: (site: number, ...of: Parameters<typeof Atomics.store>) => {
        onMark(site);
        return Atomics.store(...of);
      },
      compareExchange: (site: number, ...of: Parameters<typeof Atomics.compareExchange>) => {
        onMark(site);
        return Atomics.compareExchange(...of);
      },
      sub: (site: number, ...of: Parameters<typeof Atomics.sub>) => {
        onMark(site);
        return Atomics.sub(...of);
      },
      add: (site: number, ...of: Parameters<typeof Atomics.add>) => {
        onMark(site);
        return Atomics.add(...of);
      },
    },
  });
  plugin({
    name: "marks",
    setup: (build) => {
      build.onLoad({ filter: /src\/shared\/\w+\.ts$/ }, async ({ path }) => {
        const name = path.slice(path.lastIndexOf("/") + 1);
        return { contents: texts.get(name) ?? (await Bun.file(path).text()), loader: "ts" };
      });
    },
  });
}
