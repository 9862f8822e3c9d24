import { afterAll, beforeAll, expect } from "bun:test";
import axe from "axe-core";
import type { Browser, Page } from "playwright-core";
import type { Role } from "../../src/console/page/role.ts";
import { launch } from "./browser.ts";
import { ADMIN_TOKEN, type Running, type StartOptions, start } from "./process.ts";
import { having } from "./programs.ts";

/** Holds a browser that looks at the console of a gateway. */
export interface Console {
  readonly gateway: Running;
  readonly page: Page;
  /** Goes to a path of the console, such as `/why`, and waits until a heading is there. */
  open(path?: string): Promise<void>;
  /** Clicks a link in the navigation. */
  goTo(name: string): Promise<void>;
  /** What the page has done that it must not: other hosts asked, rules of the Content-Security-Policy broken, errors thrown. */
  readonly wrongs: readonly string[];
  /** The text of what has the focus. */
  focused(): Promise<string>;
  /** Tells whether the page is wider than the window, so that it must be moved aside to be read. */
  isTooWide(): Promise<boolean>;
  /** What axe-core finds wrong with the page as it is now, one line each. */
  axe(): Promise<string[]>;
}

export interface ConsoleOptions {
  /** Whose eyes it is seen by; `null`: nobody has signed in. */
  readonly role?: Role | null;
  readonly scheme?: "light" | "dark";
  readonly isPhone?: boolean;
}

/** The smallest phone that the console is made for, in pixels. */
const PHONE = { width: 390, height: 844 };
const DESK = { width: 1280, height: 900 };
/** Milliseconds that the page has to show what a test waits for. */
const PATIENCE = 15_000;

/** Opens a browser of its own at a gateway, signed in. Close it by what it gives. */
export async function openConsole(
  gateway: Running,
  browser: Browser,
  { role = "admin", scheme = "light", isPhone = false }: ConsoleOptions,
) {
  const context = await browser.newContext({ viewport: isPhone ? PHONE : DESK, colorScheme: scheme, reducedMotion: "reduce" });
  await context.addInitScript({
    content: `document.addEventListener("securitypolicyviolation", (event) => console.error("policy: " + event.violatedDirective + " " + event.blockedURI))`,
  });
  if (role !== null) await signIn(gateway, role, (token) => context.request.post(`${gateway.url}/admin/session`, { data: { token } }));
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE);
  const wrongs: string[] = [];
  page.on("request", (request) => {
    if (new URL(request.url()).origin !== gateway.url) wrongs.push(`asked ${request.url()}`);
  });
  page.on("pageerror", (error) => wrongs.push(`threw ${error.message}`));
  page.on("console", (message) => {
    // A refusal is in the console by itself: tests look for what it says on the page.
    if (message.type() === "error" && !message.text().startsWith("Failed to load resource")) wrongs.push(message.text());
  });
  const opened: Console = {
    ...{ gateway, page, wrongs },
    open: async (path = "") => {
      await page.goto(`${gateway.url}/console${path}`);
      await page.getByRole("heading", { level: 1 }).waitFor();
    },
    goTo: async (name) => {
      if (isPhone) await page.getByRole("button", { name: "Menu" }).click();
      await page.getByRole("navigation", { name: "Console" }).getByRole("link", { name, exact: true }).click();
    },
    focused: () => page.evaluate("document.activeElement?.textContent ?? ''"),
    isTooWide: () => page.evaluate("document.documentElement.scrollWidth > innerWidth"),
    axe: () => violationsOf(page),
  };
  return { opened, close: () => context.close() };
}

async function signIn(gateway: Running, role: Role, post: (token: string) => Promise<{ status(): number; text(): Promise<string> }>) {
  const answer = await post(role === "admin" ? ADMIN_TOKEN : await tokenOf(gateway, role));
  if (answer.status() !== 201) throw new Error(`signing in as ${role}: ${answer.status()} ${await answer.text()}`);
}

/** Makes a token with a role. */
async function tokenOf(gateway: Running, role: Role): Promise<string> {
  const answer = await gateway.admin("POST", "/admin/tokens", { name: `${role}-${crypto.randomUUID()}`, role });
  const { token } = (await answer.json()) as { token: string };
  return token;
}

/** Runs axe-core in a world of its own, to which the page's policy does not apply. */
async function violationsOf(page: Page): Promise<string[]> {
  const session = await page.context().newCDPSession(page);
  try {
    const { frameTree } = await session.send("Page.getFrameTree");
    const { executionContextId } = await session.send("Page.createIsolatedWorld", { frameId: frameTree.frame.id });
    const evaluate = (expression: string) =>
      session.send("Runtime.evaluate", { expression, contextId: executionContextId, awaitPromise: true, returnByValue: true });
    await evaluate(axe.source);
    const { result, exceptionDetails } = await evaluate(
      "axe.run().then(({ violations }) => violations.map(({ id, help, nodes }) => `${id}: ${help}: ${nodes.map(({ html }) => html).join(' ')}`))",
    );
    if (exceptionDetails !== undefined) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
    return result.value as string[];
  } finally {
    await session.detach();
  }
}

/**
 * Begins tests of the console: one gateway and one browser for all tests of a file. Each test has a page of its own, and fails when the
 * page asks another host, breaks its Content-Security-Policy or throws.
 *
 * @example
 * const screenTest = consoleTests({ config: { … } });
 * screenTest("shows the pools", async ({ open, page }) => { await open("/pools"); … });
 * screenTest("lets a viewer look", { role: "viewer", isPhone: true }, async (…) => { … });
 */
export function consoleTests(options: StartOptions | (() => Promise<StartOptions>)) {
  const { test } = having("chromium");
  let gateway: Running | undefined;
  let browser: Browser | undefined;
  beforeAll(async () => {
    gateway = await start(typeof options === "function" ? await options() : options);
    browser = await launch();
  }, 120_000);
  afterAll(async () => {
    await browser?.close();
    await gateway?.stop();
  });
  type Body = (console: Console) => Promise<void>;
  return (name: string, ...rest: [body: Body] | [options: ConsoleOptions, body: Body]): void => {
    const [how, body] = rest.length === 1 ? [{}, rest[0]] : rest;
    test(name, async () => {
      if (gateway === undefined || browser === undefined) throw new Error("the gateway or the browser has not begun");
      const { opened, close } = await openConsole(gateway, browser, how);
      try {
        await body(opened);
        expect(opened.wrongs).toEqual([]);
      } finally {
        await close();
      }
    });
  };
}

/** What the admin API answers, as far as tests of the console read it. */
type Json = Record<string, unknown> & {
  readonly items: readonly Json[];
  readonly id: string;
  readonly key: string;
  readonly keys: readonly Json[];
  readonly state: { readonly keys: readonly Json[] };
};

/** Asks the admin API of the console's gateway, and gives whatever it answers. */
export async function ask({ gateway }: Console, method: string, path: string, body?: unknown): Promise<{ status: number; body: Json }> {
  const answer = await gateway.admin(method, path, body);
  const text = await answer.text();
  return { status: answer.status, body: (text === "" ? {} : JSON.parse(text)) as Json };
}

/** Reads an answer of the admin API that has to be good: throws for another. */
export async function json<T>(answer: Promise<Response>): Promise<T> {
  const response = await answer;
  if (!response.ok) throw new Error(`${response.status} ${await response.text()}`);
  // What the API's document says; a deletion answers with nothing.
  return (response.status === 204 ? null : await response.json()) as T;
}

/** Waits until the page says a text. */
export const said = ({ page }: Console, text: string) => page.getByRole("status").getByText(text).waitFor();
