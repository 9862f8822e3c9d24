import { readFileSync } from "node:fs";
import type { Path } from "../schema/faults.ts";
import { placed } from "./load.ts";

/** Tells people where something stands in the configuration file, as in "config.json:12:7": the file alone where that can't be said. */
export function placeIn(file: string | null, path: Path): string {
  if (file === null) return "the demo's configuration";
  try {
    const [place] = placed(readFileSync(file, "utf8"), [{ path, message: "" }]);
    return place?.line === undefined ? file : `${file}:${place.line}:${place.column}`;
  } catch {
    // It is read anew, and may be gone by now.
    return file;
  }
}
