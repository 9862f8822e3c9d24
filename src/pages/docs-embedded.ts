// The users' pages as scripts/build.ts has compressed them. Only the binary loads this module.

import docs from "../../dist/pages/docs.json.br" with { type: "file" };

/** The path of the pages by their names, as JSON that is compressed by Brotli. */
export const DOCS: string = docs;
