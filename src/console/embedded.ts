// The pages as scripts/build.ts has built them. Only the binary loads this module.

import consoleStyle from "../../dist/pages/console.css.br" with { type: "file" };
import consoleScript from "../../dist/pages/console.js.br" with { type: "file" };
import myStyle from "../../dist/pages/my.css.br" with { type: "file" };
import myScript from "../../dist/pages/my.js.br" with { type: "file" };
import type { PageSource } from "./pages.ts";

/** The paths of each page's built script and style, compressed by Brotli. */
export const EMBEDDED: Readonly<Record<PageSource["name"], { readonly script: string; readonly style: string }>> = {
  console: { script: consoleScript, style: consoleStyle },
  my: { script: myScript, style: myStyle },
};
