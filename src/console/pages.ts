/** Describes a page of Sluice's own that a script draws. */
export interface PageSource {
  /** Its files are `page/NAME.tsx` and `page/NAME.css`. */
  readonly name: "console";
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

/** The pages that are built. Another takes a row here, its two files in `page/`, and their imports in `embedded.ts`. */
export const PAGES: readonly PageSource[] = [CONSOLE];
