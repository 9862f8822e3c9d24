import { expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { isForUsers } from "../../src/pages/doc-files.ts";
import { docAt, llmsText } from "../../src/pages/docs.ts";
import { FILES, ROOT } from "./files.ts";

test("every link of the documentation leads to a file, and every anchor to a heading or a row", async () => {
  const broken: string[] = [];
  for (const file of FILES) {
    const text = await Bun.file(join(ROOT, file)).text();
    // In the place of pictures the gateway shows their words.
    const withoutPictures = text.replace(/```[\s\S]*?```/g, "").replace(/!\[[^\]]*\]\([^)]*\)/g, "");
    for (const [, to = ""] of withoutPictures.matchAll(/\]\(([^)\s]+)\)/g)) {
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

const users = FILES.filter((file) => file.startsWith("docs/") && isForUsers(file.slice("docs/".length)));

test("every page for users is reached from the documentation's index", async () => {
  const index = await Bun.file(join(ROOT, "docs/README.md")).text();
  for (const file of users.filter((each) => each !== "docs/README.md")) expect(index).toContain(`(${file.slice("docs/".length)})`);
});

test("every decision that is written down is reached from the list of decisions", async () => {
  const index = await Bun.file(join(ROOT, "docs/adr/README.md")).text();
  for (const file of FILES.filter((each) => each.startsWith("docs/adr/") && each !== "docs/adr/README.md"))
    expect(index).toContain(`(${file.slice("docs/adr/".length)})`);
});

test("the gateway shows its users the pages for them, and none about how it is built", async () => {
  for (const file of users) expect(await docAt(`/${file}`)).not.toBeNull();
  for (const path of ["/docs/ARCHITECTURE", "/docs/adr/README", "/docs/adr/0001-own-http-stack"]) expect(await docAt(path)).toBeNull();
  expect(await llmsText()).not.toMatch(/adr|ARCHITECTURE/);
});

test("the users' pages lead to no page that the gateway does not show", async () => {
  for (const file of users) {
    const text = await Bun.file(join(ROOT, file)).text();
    // In the place of pictures the gateway shows their words.
    const withoutPictures = text.replace(/```[\s\S]*?```/g, "").replace(/!\[[^\]]*\]\([^)]*\)/g, "");
    for (const [, to = ""] of withoutPictures.matchAll(/\]\(([^)\s#]+)/g)) {
      if (/^[a-z]+:/.test(to)) continue;
      const target = relative(ROOT, resolve(ROOT, dirname(file), to));
      expect([file, to, users.includes(target)]).toEqual([file, to, true]);
    }
  }
});

test("every alert has a runbook", async () => {
  const { groups } = Bun.YAML.parse(await Bun.file(join(ROOT, "deploy/prometheus/rules.yml")).text()) as {
    groups: { rules: { alert: string }[] }[];
  };
  const page = await Bun.file(join(ROOT, "docs/operate/alerts.md")).text();
  for (const { alert } of groups.flatMap(({ rules }) => rules)) expect(page).toContain(`### ${alert}\n`);
});
