import { expect } from "bun:test";
import { join, resolve } from "node:path";
import { launch } from "../../support/browser.ts";
import { folder } from "../../support/process.ts";
import { having } from "../../support/programs.ts";

const { test } = having("chromium");

test("the report of a load test opens from the disk, in light and in dark, with charts and tables and nothing from elsewhere", async () => {
  using home = folder();
  const load = Bun.spawn(
    [process.execPath, resolve(import.meta.dir, "../../../scripts/load-activities.ts"), "--users", "5", "--duration", "4"],
    {
      cwd: home.path,
      env: { PATH: "/nonexistent" },
      stdout: "pipe",
    },
  );
  expect([await load.exited, await new Response(load.stdout).text()]).toEqual([0, expect.stringContaining("charts: load-activities.html")]);
  const browser = await launch();
  try {
    const grounds: string[] = [];
    for (const colorScheme of ["light", "dark"] as const) {
      const tab = await browser.newPage({ colorScheme });
      const complaints: string[] = [];
      const asked: string[] = [];
      tab.on("console", (message) => void complaints.push(message.text()));
      tab.on("request", (request) => void asked.push(request.url()));
      const url = `file://${join(home.path, "load-activities.html")}`;
      await tab.goto(url);
      expect([complaints, asked]).toEqual([[], [url]]);
      expect(await tab.getByRole("img").count()).toBe(3);
      // The lines have a colour, and are not drawn as one point.
      const lines = (await tab.evaluate(
        "[...document.querySelectorAll('svg[role=img] path')].map((path) => [getComputedStyle(path).stroke, path.getBoundingClientRect().width])",
      )) as [string, number][];
      expect(lines).toHaveLength(6);
      for (const line of lines) expect(line).toEqual([expect.stringMatching(/^rgb/), expect.any(Number)]);
      expect(lines.every(([, width]) => width > 100)).toBe(true);
      expect(await tab.getByRole("table").count()).toBe(1);
      await tab.locator("summary").click();
      expect(await tab.getByRole("table").count()).toBe(2);
      expect(await tab.locator("details tbody tr").count()).toBeGreaterThan(3);
      grounds.push(await tab.evaluate("getComputedStyle(document.body).backgroundColor"));
      await tab.close();
    }
    expect(new Set(grounds).size).toBe(2);
  } finally {
    await browser.close();
  }
}, 60_000);
