import { Elysia } from "elysia";
import { ICON, Kept } from "../http/static-text.ts";
import { LANDING_STYLE } from "../pages/landing.ts";
import { swaggerFile } from "./swagger-files.ts";

/** Tags that are open at first: what most people come for. */
const OPEN_TAGS = ["consumers", "keys", "tiers", "routes", "upstreams", "pools", "limits"];

const PAGE = `<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Sluice API</title>
<link rel="icon" href="/swagger/assets/icon.svg">
<link rel="stylesheet" href="/swagger/assets/swagger-ui.css">
<link rel="stylesheet" href="/swagger/assets/page.css">
</head>
<body>
<div id="swagger-ui"></div>
<script src="/swagger/assets/swagger-ui-bundle.js"></script>
<script src="/swagger/assets/start.js"></script>
</body>
</html>
`;

const PAGE_STYLE = `body { margin: 0; }
@media (prefers-color-scheme: dark) {
  body { background-color: #222; }
  .swagger-ui { filter: invert(92%) hue-rotate(180deg); }
  .swagger-ui .microlight { filter: invert(100%) hue-rotate(180deg); }
}
`;

// The token is kept in the page's memory only: localStorage is shared with every backend behind this port.
const START = `"use strict";
window.addEventListener("load", () => {
  const open = ${JSON.stringify(OPEN_TAGS)};
  window.ui = SwaggerUIBundle({
    url: "/swagger/json",
    dom_id: "#swagger-ui",
    docExpansion: "list",
    deepLinking: true,
    filter: true,
    displayRequestDuration: true,
    persistAuthorization: false,
    validatorUrl: null,
    defaultModelsExpandDepth: 0,
    onComplete: () => {
      const tags = window.ui.specSelectors.taggedOperations().keySeq().toArray();
      if (location.hash.length < 3) for (const tag of tags) window.ui.layoutActions.show(["operations-tag", tag], open.includes(tag));
    },
  });
});
`;

const HOUR = "public, max-age=3600";

/** Serves Swagger UI at /swagger and the document at /swagger/json. The UI's files are in the binary: it needs no internet. */
export const swagger = (document: () => object) => {
  const page = new Kept("text/html; charset=utf-8", "no-cache", () => PAGE);
  const json = new Kept("application/json", "no-cache", () => JSON.stringify(document()));
  const files: Readonly<Record<string, Kept>> = {
    "swagger-ui.css": new Kept("text/css; charset=utf-8", HOUR, () => swaggerFile("swagger-ui.css")),
    "swagger-ui-bundle.js": new Kept("text/javascript; charset=utf-8", HOUR, () => swaggerFile("swagger-ui-bundle.js")),
    "landing.css": new Kept("text/css; charset=utf-8", HOUR, () => LANDING_STYLE),
    "page.css": new Kept("text/css; charset=utf-8", HOUR, () => PAGE_STYLE),
    "icon.svg": new Kept("image/svg+xml", HOUR, () => ICON),
    "start.js": new Kept("text/javascript; charset=utf-8", HOUR, () => START),
  };
  const app = new Elysia({ name: "swagger" })
    .get("/swagger", ({ request }) => page.answer(request), { detail: { hide: true } })
    .get("/swagger/json", ({ request }) => json.answer(request), { detail: { hide: true } });
  for (const [name, file] of Object.entries(files))
    app.get(`/swagger/assets/${name}`, ({ request }) => file.answer(request), { detail: { hide: true } });
  return app;
};
