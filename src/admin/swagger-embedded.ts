// Swagger UI as scripts/build.ts has compressed it. Only the binary loads this module.

import style from "../../dist/pages/swagger-ui.css.br" with { type: "file" };
import script from "../../dist/pages/swagger-ui-bundle.js.br" with { type: "file" };
import type { SwaggerFile } from "./swagger-files.ts";

/** The paths of the files, compressed by Brotli. */
export const SWAGGER: Readonly<Record<SwaggerFile, string>> = { "swagger-ui.css": style, "swagger-ui-bundle.js": script };
