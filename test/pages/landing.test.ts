import { expect, test } from "bun:test";
import { docAt } from "../../src/pages/docs.ts";
import { freePages, wantsPage } from "../../src/pages/landing.ts";

const free = (...paths: string[]): string[] => [...freePages(paths.map((path) => ({ path })))].sort();

test("a page yields to a route with its path or a longer one, and / to a route of that path alone", () => {
  expect(free()).toEqual(["/", "/console", "/docs", "/llms.txt", "/my"]);
  expect(free("/test", "/api/users")).toEqual(["/", "/console", "/docs", "/llms.txt", "/my"]);
  expect(free("/docs")).toEqual(["/", "/console", "/llms.txt", "/my"]);
  expect(free("/docs/")).toEqual(["/", "/console", "/llms.txt", "/my"]);
  expect(free("/docs/v2")).toEqual(["/", "/console", "/llms.txt", "/my"]);
  expect(free("/docs2", "/doc")).toEqual(["/", "/console", "/docs", "/llms.txt", "/my"]);
  expect(free("/llms.txt")).toEqual(["/", "/console", "/docs", "/my"]);
  expect(free("/")).toEqual(["/console", "/docs", "/llms.txt", "/my"]);
  expect(free("/", "/docs", "/llms.txt/more", "/console/a", "/my")).toEqual([]);
});

test("a browser gets a page, a program gets JSON", () => {
  for (const accept of ["text/html", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "*/*, text/html;q=0.5"])
    expect([accept, wantsPage(accept)]).toEqual([accept, true]);
  for (const accept of [null, "*/*", "application/json", "text/html;q=0", "text/htmlx"])
    expect([accept, wantsPage(accept)]).toEqual([accept, false]);
});

test("pages of the documentation have words where the repository has pictures, which are not in the binary", async () => {
  const html = (await docAt("/docs/guides/console"))?.html() ?? "";
  expect(html).toContain("<em>Now:");
  expect(html).not.toContain("<img");
});
