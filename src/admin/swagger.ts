import openapi from "@elysiajs/openapi";
import { Elysia } from "elysia";
import style from "swagger-ui-dist/swagger-ui.css" with { type: "file" };
import script from "swagger-ui-dist/swagger-ui-bundle.js" with { type: "file" };
import { VERSION } from "../version.ts";
import { OPEN_PATHS } from "./open-paths.ts";

const asset = (path: string, type: string) => async () =>
  new Response(await Bun.file(path).bytes(), { headers: { "content-type": type, "cache-control": "public, max-age=86400" } });

/** Swagger UI at /swagger and the document at /swagger/json. The UI's files are in the binary: it needs no internet. */
// Made for each gateway: an instance that has served a page can't be mounted again.
export const swagger = () =>
  new Elysia({ name: "swagger" })
    .get("/swagger/assets/swagger-ui.css", asset(style, "text/css; charset=utf-8"), { detail: { hide: true } })
    .get("/swagger/assets/swagger-ui-bundle.js", asset(script, "text/javascript; charset=utf-8"), { detail: { hide: true } })
    .use(
      openapi({
        path: "/swagger",
        specPath: "/swagger/json",
        provider: "swagger-ui",
        swagger: {
          // Absolute, since the default is looked up beside /swagger/ and not found. The plugin hands it on; its type leaves it out.
          ...({ url: "/swagger/json" } as object),
          cdn: "/swagger/assets/swagger-ui-bundle.js",
          theme: "/swagger/assets/swagger-ui.css",
          persistAuthorization: true,
        },
        documentation: {
          info: {
            title: "Sluice admin API",
            version: VERSION,
            description:
              "Manages consumers, keys, tiers, routes and upstreams of a running gateway. Every change takes effect at once. Errors are application/problem+json (RFC 9457) with a `code`; lists take `?limit=` and `?cursor=`; PATCH takes a merge patch (RFC 7396) and honours `If-Match`; POST honours `Idempotency-Key` for 24 hours.",
          },
          components: {
            securitySchemes: {
              apiKey: { type: "apiKey", in: "header", name: "X-API-Key", description: "A consumer's key." },
              bearer: {
                type: "http",
                scheme: "bearer",
                description: "The admin token: SLUICE_ADMIN_TOKEN, or the one printed at the first start.",
              },
            },
          },
          security: [{ bearer: [] }],
          paths: OPEN_PATHS,
          tags: [
            { name: "health", description: "NORMAL or DEGRADED, and the parts of the gateway" },
            { name: "consumers", description: "Who calls" },
            { name: "keys", description: "The secrets they call with" },
            { name: "tiers", description: "Named sets of limits" },
            { name: "limits", description: "What a consumer has used, and why a request was refused" },
            { name: "routes", description: "Paths joined to upstreams" },
            { name: "upstreams", description: "Backends" },
            { name: "pools", description: "Upstream credentials that are handed out within their budgets" },
            { name: "activities", description: "Batches of changes to tables" },
            { name: "breakers", description: "Targets that are cut off, and those that are not" },
            { name: "cache", description: "Kept responses" },
            { name: "blocks", description: "Addresses that are refused" },
            { name: "usage", description: "What consumers have used, by the hour" },
            { name: "audit", description: "What was done, by whom" },
            { name: "tokens", description: "Who may use this API" },
            { name: "backup", description: "Copies of the database" },
            { name: "stats", description: "Numbers for a terminal" },
            { name: "events", description: "What happens, as it happens" },
            { name: "logging", description: "The log's level" },
            { name: "config", description: "The configuration in force" },
          ],
        },
      }),
    );
