// Makes the pictures of the console's screens in docs/console/, of a gateway with made traffic: bun scripts/screenshots.ts [NAME…]
// The console must have been built into the binary that SLUICE_BINARY names, or is built from the source.
import { mkdirSync } from "node:fs";
import type { Page } from "playwright-core";
import { launch } from "../test/support/browser.ts";
import { ADMIN_TOKEN } from "../test/support/process.ts";
import { startDemo } from "./console-demo.ts";

const FOLDER = "docs/console";
/** Milliseconds of traffic before the first picture. */
const TRAFFIC = Number(process.env.TRAFFIC ?? 75_000);

interface Picture {
  readonly name: string;
  /** The path below /console, with its query. */
  readonly path: string;
  readonly scheme?: "dark";
  readonly isPhone?: boolean;
  /** Does what must be done before the picture is taken. */
  readonly prepare?: (page: Page) => Promise<unknown>;
  /** Pixels; left out: those of the window. */
  readonly height?: number;
}

const PICTURES: readonly Picture[] = [
  { name: "now", path: "", height: 960 },
  { name: "now-dark", path: "", scheme: "dark", height: 960 },
  { name: "now-phone", path: "", isPhone: true },
  { name: "why", path: "/why?consumer=tinyshop&route=search", height: 960 },
  { name: "why-refused", path: "/why", prepare: refusedOne, height: 960 },
  { name: "why-walk", path: "/why", prepare: walkOne },
  { name: "set-up", path: "/start" },
  { name: "consumers", path: "/consumers" },
  { name: "consumer", path: "/consumers/acme", height: 960 },
  { name: "routes", path: "/routes", height: 960 },
  { name: "limits", path: "/limits", height: 960 },
  { name: "pools", path: "/pools" },
  { name: "models", path: "/models" },
  { name: "models-costs", path: "/models/costs" },
  { name: "models-prices", path: "/models/prices" },
  { name: "models-tools", path: "/models/tools" },
  { name: "activities", path: "/activities" },
  { name: "events", path: "/events" },
  { name: "audit", path: "/audit" },
  { name: "versions", path: "/versions" },
  { name: "configuration", path: "/configuration", height: 960 },
  { name: "certificates", path: "/certificates" },
  { name: "webhooks", path: "/webhooks" },
  { name: "why-phone", path: "/why?consumer=tinyshop&route=search", isPhone: true },
];

/** Opens the refusal that is first in the list. */
async function refusedOne(page: Page): Promise<void> {
  await page.getByRole("link", { name: "rateLimited" }).first().click();
  await page.getByText("It was refused").waitFor();
}

/** Walks a request that is let through. */
async function walkOne(page: Page): Promise<void> {
  await page.getByLabel("What do you have?").fill("GET /chat/completions");
  await page.keyboard.press("Enter");
  await page.getByLabel("API key").fill("a-made-key-of-tinyshop-0001");
  await page.getByRole("button", { name: "Walk it" }).click();
  await page.getByText("It would be refused").waitFor();
  await page.getByRole("heading", { name: "Walk a request" }).scrollIntoViewIfNeeded();
}

const wanted = Bun.argv.slice(2);
mkdirSync(FOLDER, { recursive: true });
await using demo = await startDemo();
const { gateway } = demo;
const browser = await launch();
/** A page that stays open, so that the charts have something to show. */
const contexts = new Map<string, Page>();

async function pageFor({ scheme, isPhone = false }: Picture): Promise<Page> {
  const key = `${scheme} ${isPhone}`;
  const kept = contexts.get(key);
  if (kept !== undefined) return kept;
  const context = await browser.newContext({
    viewport: isPhone ? { width: 390, height: 844 } : { width: 1360, height: 860 },
    colorScheme: scheme ?? "light",
    reducedMotion: "reduce",
    deviceScaleFactor: isPhone ? 2 : 1,
  });
  await context.request.post(`${gateway.url}/admin/session`, { data: { token: ADMIN_TOKEN } });
  const page = await context.newPage();
  await page.goto(`${gateway.url}/console`);
  contexts.set(key, page);
  return page;
}

const pictures = PICTURES.filter(({ name }) => wanted.length === 0 || wanted.includes(name));
for (const picture of pictures) await pageFor(picture);
await Bun.sleep(TRAFFIC);
for (const picture of pictures) {
  const page = await pageFor(picture);
  const { name, path, prepare, height, isPhone = false } = picture;
  if (!isPhone) await page.setViewportSize({ width: 1360, height: height ?? 860 });
  const here = new URL(page.url());
  if (`${here.pathname}${here.search}` !== `/console${path}`) await page.goto(`${gateway.url}/console${path}`);
  await page.getByRole("heading", { level: 1 }).waitFor();
  await prepare?.(page);
  // What is asked for again and again has come by then.
  await Bun.sleep(2500);
  await page.screenshot({ path: `${FOLDER}/${name}.png` });
  console.log(`${FOLDER}/${name}.png  ${Math.round(Bun.file(`${FOLDER}/${name}.png`).size / 1000)} kB`);
}
await browser.close();
