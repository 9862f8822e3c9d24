import { expect, test } from "bun:test";
import { existsSync, readdirSync } from "node:fs";
import { dirname, join, resolve } from "node:path";

const ROOT = resolve(import.meta.dir, "../..");
const files = [
  "README.md",
  ...readdirSync(join(ROOT, "docs"), { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(".md"))
    .map((file) => join("docs", file)),
];

test("every link of the documentation leads to a file, and every anchor to a heading or a row", async () => {
  const broken: string[] = [];
  for (const file of files) {
    const text = await Bun.file(join(ROOT, file)).text();
    for (const [, to = ""] of text.replace(/```[\s\S]*?```/g, "").matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^[a-z]+:/.test(to)) continue;
      const [path = "", anchor] = to.split("#");
      const target = path === "" ? join(ROOT, file) : resolve(ROOT, dirname(file), path);
      if (!existsSync(target)) broken.push(`${file}: ${to}`);
      else if (anchor !== undefined) {
        const html = Bun.markdown.html(await Bun.file(target).text(), { headings: { ids: true } });
        if (!html.includes(`id="${anchor}"`)) broken.push(`${file}: ${to}`);
      }
    }
  }
  expect(broken).toEqual([]);
});

test("every page of the documentation is reached from its index", async () => {
  const index = await Bun.file(join(ROOT, "docs/README.md")).text();
  for (const file of files.filter((each) => each !== "README.md" && each !== "docs/README.md"))
    expect(index).toContain(`(${file.slice("docs/".length)})`);
});

test("every alert has a runbook", async () => {
  const { groups } = Bun.YAML.parse(await Bun.file(join(ROOT, "deploy/prometheus/rules.yml")).text()) as {
    groups: { rules: { alert: string }[] }[];
  };
  const page = await Bun.file(join(ROOT, "docs/operate/alerts.md")).text();
  for (const { alert } of groups.flatMap(({ rules }) => rules)) expect(page).toContain(`### ${alert}\n`);
});
