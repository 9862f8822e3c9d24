import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

/** Gives the declarations that plug-ins are written against. Runs when the program is bundled: they become part of the binary. */
export const embeddedDeclarations = (): string => readFileSync(fileURLToPath(new URL("./sluice.d.ts", import.meta.url)), "utf8");
