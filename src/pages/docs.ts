import { brotliDecompressSync } from "node:zlib";

/** True in the binary, where scripts/build.ts defines it. In a checkout there is no such name. */
declare const SLUICE_HAS_PAGES: boolean;
const isEmbedded = typeof SLUICE_HAS_PAGES !== "undefined";

type Pages = Readonly<Record<string, string>>;
let known: Promise<Pages> | null = null;

/** Gives the pages of the documentation as Markdown, by their path below `/docs/`; `README` is the index. They are read when first asked for. */
function pages(): Promise<Pages> {
  known ??= isEmbedded ? embedded() : import("./doc-files.ts").then(({ docFiles }) => docFiles());
  return known;
}

/** Unpacks the pages that the binary holds, so that they fit its version and work offline. */
async function embedded(): Promise<Pages> {
  const { DOCS } = await import("./docs-embedded.ts");
  // The build has written it: texts by name.
  return JSON.parse(brotliDecompressSync(await Bun.file(DOCS).bytes()).toString()) as Pages;
}

/** Describes one page of the documentation. */
export interface Doc {
  readonly title: string;
  readonly markdown: string;
  /** Gives the page's content as HTML, without the frame around it. */
  html(): string;
}

/** Finds the page at a path such as `/docs` or `/docs/guides/limits`; `null` when there is none. A path may end with `.md`. */
export async function docAt(path: string): Promise<Doc | null> {
  const name = path.replace(/^\/docs\/?/, "").replace(/\.md$/, "") || "README";
  const all = await pages();
  const markdown = Object.hasOwn(all, name) ? all[name] : undefined;
  if (markdown === undefined) return null;
  return { title: /^# (.*)$/m.exec(markdown)?.[1] ?? "Sluice", markdown, html: () => htmlOf(name, markdown) };
}

function htmlOf(name: string, markdown: string): string {
  // Links lead from file to file; here they lead from page to page.
  return (
    Bun.markdown
      .html(markdown, { headings: { ids: true } })
      // Pictures are in the repository alone: here their words stand for them.
      .replace(/<img [^>]*?alt="([^"]*)"[^>]*>/g, "<em>$1</em>")
      .replace(/href="([^":#]+)\.md(#[^"]*)?"/g, (_, to: string, anchor = "") => {
        const { pathname } = new URL(to, `http://x/docs/${name}`);
        return `href="${pathname.replace(/\/README$/, "")}${anchor}"`;
      })
  );
}

/** Gives the text of `/llms.txt`: the pages of the documentation as Markdown, for programs that read on somebody's behalf. */
export const llmsText = async (): Promise<string> =>
  `# Sluice\n\n> An API gateway in one binary: API keys, rate limits, quotas, load balancing, retries, circuit breakers, cache, audit.\n\n## Documentation\n\n${Object.entries(
    await pages(),
  )
    .map(([name, markdown]) => `- [${/^# (.*)$/m.exec(markdown)?.[1] ?? name}](/docs/${name}.md)`)
    .join("\n")}\n\n## API\n\n- [OpenAPI document of the admin API](/swagger/json)\n`;
