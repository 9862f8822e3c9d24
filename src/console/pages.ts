/** Describes a page of Sluice's own that a script draws. */
export interface PageSource {
  /** Its files are `page/NAME.tsx` and `page/NAME.css`. */
  readonly name: "console" | "my";
  /** Where it is served, with all below it. */
  readonly path: string;
  readonly title: string;
  /** What it says to a browser that runs no scripts. */
  readonly withoutScript: string;
}

/** The page for those who run the gateway. */
export const CONSOLE: PageSource = {
  name: "console",
  path: "/console",
  title: "Sluice",
  withoutScript: "The console needs JavaScript. The admin API (/swagger) and the command line do all that it does.",
};

/** The page for consumers whom an operator's link has let in. */
export const MY: PageSource = {
  name: "my",
  path: "/my",
  title: "Your keys",
  withoutScript: "This page needs JavaScript. With a key you get the same from /api/v1/me and /api/v1/me/keys.",
};

/** The pages that are built. Another takes a row here, its two files in `page/`, and their imports in `embedded.ts`. */
export const PAGES: readonly PageSource[] = [CONSOLE, MY];
