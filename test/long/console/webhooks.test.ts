import { afterAll, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { EVENTS } from "../../../src/console/page/screens/webhooks/webhook.ts";
import { EVENT_NAMES } from "../../../src/webhooks/event-types.ts";
import { certified } from "../../support/certificates.ts";
import { type Console, consoleTests } from "../../support/console.ts";
import { folder } from "../../support/process.ts";
import { isSigned, type Received, receiver, WEBHOOK_SECRET } from "../../support/receiver.ts";
import { until } from "../../support/until.ts";

const hook = receiver();
const home = folder();
const { cert, key } = certified(["localhost"]);
writeFileSync(`${home.path}/ca.pem`, cert);

/** What came by https, where webhooks that the API made lead. */
const secure = { status: 204, received: [] as Received[] };
const server = Bun.serve({
  ...{ port: 0, hostname: "127.0.0.1", tls: { cert, key } },
  fetch: async (request) => {
    const text = await request.text();
    const headers = Object.fromEntries(request.headers);
    secure.received.push({ id: headers["webhook-id"] ?? "", body: JSON.parse(text), text, headers, path: "/" });
    return new Response(null, { status: secure.status });
  },
});
const SECURE_URL = `https://localhost:${server.port}/`;
afterAll(async () => {
  hook[Symbol.dispose]();
  await server.stop(true);
  home[Symbol.dispose]();
});

const screenTest = consoleTests({
  env: { SLUICE_SECRET: "a secret of the machine", NODE_EXTRA_CA_CERTS: `${home.path}/ca.pem` },
  config: {
    admin: { upstreamAllow: ["localhost"] },
    webhooks: [{ name: "declared", url: hook.url, secret: WEBHOOK_SECRET, events: ["*"] }],
    consumers: [{ id: "acme", tier: "free" }],
  },
});
const emptyTest = consoleTests({ config: { routes: [] } });

type Gateway = Console["gateway"];
interface Shown {
  readonly url: string;
  readonly events: readonly string[];
  readonly enabled: boolean;
  readonly state: { readonly isGone: boolean };
}

const shown = async (gateway: Gateway, name: string): Promise<Shown> =>
  // What the API's document says.
  (await (await gateway.admin("GET", `/admin/webhooks/${name}`)).json()) as Shown;
const made = async (gateway: Gateway, name: string, events = ["key.created"], url = "https://hooks.example.com/"): Promise<void> =>
  expect((await gateway.admin("POST", "/admin/webhooks", { name, url, events })).status).toBe(201);
const removed = async (gateway: Gateway, name: string): Promise<void> =>
  expect((await gateway.admin("DELETE", `/admin/webhooks/${name}`)).status).toBe(204);
const keyMade = async (gateway: Gateway): Promise<void> =>
  expect((await gateway.admin("POST", "/admin/keys", { consumer: "acme" })).status).toBe(201);

test("the console knows each event that the gateway tells", () => {
  expect(Object.keys(EVENTS)).toEqual([...EVENT_NAMES]);
});

for (const scheme of ["light", "dark"] as const)
  for (const isPhone of [false, true])
    screenTest(
      `webhooks have nothing that axe-core objects to, ${scheme}${isPhone ? ", on a phone" : ""}`,
      { scheme, isPhone },
      async ({ open, page, axe, isTooWide, gateway }) => {
        const looks = async (): Promise<void> => expect([await axe(), await isTooWide()]).toEqual([[], false]);
        hook.answers(204);
        await keyMade(gateway);
        await open("/webhooks");
        await page.getByRole("link", { name: "declared" }).waitFor();
        await looks();
        await open("/webhooks/declared");
        await page.getByRole("button", { name: "Send a test" }).click();
        await page.getByRole("status").getByText("The receiver answered 204.").waitFor();
        await looks();
        await page.getByRole("button", { name: "key.created", exact: true }).first().click();
        await page.getByRole("dialog").getByText("What is sent").waitFor();
        await looks();
        await open("/webhooks?new=webhook");
        await page.getByLabel("All events").uncheck();
        await looks();
      },
    );

screenTest("a webhook is created with chosen events, and its secret is shown once", async ({ open, page, gateway, goTo, axe }) => {
  await open();
  await goTo("Webhooks");
  await page.getByRole("link", { name: "New webhook" }).click();
  await page.getByLabel("Name").fill("chat");
  await page.getByLabel("Address").fill(SECURE_URL);
  await page.getByLabel("All events").uncheck();
  await page.getByLabel("key.created").check();
  await page.getByText("A key was created or imported.").waitFor();
  await page.getByLabel("block.made").check();
  await page.getByRole("button", { name: "Create webhook" }).press("Enter");
  const secret = (await page.locator(".secret code").textContent()) ?? "";
  expect(secret).toStartWith("whsec_");
  expect(await axe()).toEqual([]);
  expect((await shown(gateway, "chat")).events).toEqual(["key.created", "block.made"]);
  secure.status = 204;
  await keyMade(gateway);
  await until(() => secure.received.some((each) => isSigned(each, secret)));
  await page.getByRole("link", { name: "Send it a test" }).click();
  await page.getByRole("heading", { level: 1, name: "Webhook chat" }).waitFor();
  expect(await page.content()).not.toContain(secret);
  await page.getByLabel("Event", { exact: true }).selectOption("block.made");
  await page.getByRole("button", { name: "Send a test" }).click();
  await page.getByRole("status").getByText("The receiver answered 204.").waitFor();
  expect(secure.received.at(-1)?.body.type).toBe("block.made");
  await removed(gateway, "chat");
});

screenTest("what can't be created is said at its field", async ({ open, page, gateway, focused }) => {
  await open("/webhooks?new=webhook");
  await page.getByLabel("Name").fill("wrong");
  await page.getByLabel("Address").fill("http://hooks.example.com/");
  await page.getByLabel("All events").uncheck();
  await page.getByRole("button", { name: "Create webhook" }).click();
  await page
    .getByText(/must begin with https:\/\/, as/)
    .or(page.getByText(/at least 1/))
    .first()
    .waitFor();
  expect(await page.locator("[aria-invalid=true]").count()).toBeGreaterThan(0);
  await page.getByLabel("All events").check();
  await page.getByRole("button", { name: "Create webhook" }).click();
  await page
    .locator(".fault")
    .getByText(/must begin with https:\/\/, as/)
    .waitFor();
  expect(await page.getByLabel("Address").getAttribute("aria-invalid")).toBe("true");
  expect(await focused()).toBe("");
  expect((await gateway.admin("GET", "/admin/webhooks/wrong")).status).toBe(404);
});

screenTest("a webhook is edited, and somebody else's change meanwhile is told", async ({ open, page, gateway }) => {
  await made(gateway, "edited");
  await open("/webhooks/edited");
  await page.getByRole("button", { name: "Edit" }).click();
  await page.getByLabel("quota.100").check();
  await page.getByRole("button", { name: "Save" }).click();
  await page.getByText("The webhook is changed.").waitFor();
  expect((await shown(gateway, "edited")).events).toEqual(["key.created", "quota.100"]);
  await page.getByText("key.created, quota.100").waitFor();
  await page.getByRole("button", { name: "Edit" }).click();
  await page.getByLabel("On", { exact: true }).uncheck();
  await gateway.admin("PATCH", "/admin/webhooks/edited", { events: ["block.made"] });
  await page.getByRole("button", { name: "Save" }).click();
  await page.getByText("Somebody else changed this since you read it.").waitFor();
  expect((await shown(gateway, "edited")).enabled).toBe(true);
  await page.getByRole("button", { name: "Save yours over it" }).click();
  await page.getByText("off", { exact: true }).waitFor();
  expect(await shown(gateway, "edited")).toMatchObject({ enabled: false, events: ["key.created", "quota.100"] });
  await removed(gateway, "edited");
});

screenTest("a test shows what the receiver answers, also where it refuses", async ({ open, page }) => {
  hook.answers(500);
  await open("/webhooks/declared");
  await page.getByLabel("Event", { exact: true }).selectOption("quota.100");
  await page.getByRole("button", { name: "Send a test" }).click();
  await page.getByRole("status").getByText("The receiver answered 500.").waitFor();
  await page.getByText("said 500", { exact: true }).waitFor();
  await page.getByText("not delivered", { exact: true }).waitFor();
  hook.answers(200);
  await page.getByRole("button", { name: "Send a test" }).click();
  await page.getByRole("status").getByText("The receiver answered 200.").waitFor();
  expect(hook.all.at(-1)?.body.type).toBe("quota.100");
});

screenTest("deliveries are listed with their tries and answers, filtered, and sent again", async ({ open, page, gateway }) => {
  hook.answers(204);
  await open("/webhooks/declared");
  await gateway.admin("POST", "/admin/blocks", { ip: "203.0.113.9", reason: "tests" });
  await until(() => hook.types().includes("block.made"));
  const row = page.getByRole("row").filter({ hasText: "block.made" }).first();
  await row.getByText("delivered", { exact: true }).waitFor();
  expect(await row.getByRole("cell").nth(2).textContent()).toBe("204");
  expect(await row.getByRole("cell").nth(3).textContent()).toBe("1");
  const before = hook.types().filter((type) => type === "block.made").length;
  await row.getByRole("button", { name: /^Redeliver/ }).click();
  await page.getByText("It is sent again.").waitFor();
  await until(() => hook.types().filter((type) => type === "block.made").length === before + 1);
  const ids = hook.all.filter(({ body }) => body.type === "block.made").map(({ id }) => id);
  expect(ids.at(-1)).toBe(ids.at(-2) ?? "");
  await row.getByRole("button", { name: "block.made" }).press("Enter");
  const dialog = page.getByRole("dialog", { name: "block.made" });
  await dialog.getByText('"ip": "203.0.113.9"').waitFor();
  await dialog.getByText("The receiver answered 204.").waitFor();
  await page.keyboard.press("Escape");

  hook.answers(503);
  await gateway.admin("POST", "/admin/blocks", { ip: "203.0.113.10" });
  await page.getByLabel("Show").selectOption("waiting");
  const waiting = page.getByRole("row").filter({ hasText: "503" });
  await waiting.first().waitFor();
  expect(
    await waiting
      .first()
      .getByRole("button", { name: /^Redeliver/ })
      .getAttribute("aria-disabled"),
  ).toBe("true");
  await page.getByLabel("Show").selectOption("failed");
  await page.getByText("No delivery is failed.").waitFor();
  hook.answers(204);
});

screenTest("a receiver that wants no more is told of, and a webhook of the API is enabled again", async ({ open, page, gateway }) => {
  await made(gateway, "gone", ["key.created"], SECURE_URL);
  secure.status = 410;
  await open("/webhooks/gone");
  await keyMade(gateway);
  await page.getByText("Its receiver has answered 410 Gone").waitFor();
  await open("/webhooks");
  await page.getByRole("row", { name: /gone/ }).getByText("wants no more (410)").waitFor();
  await page.getByRole("link", { name: "gone" }).click();
  secure.status = 204;
  await page.getByRole("button", { name: "Enable again" }).click();
  await page.getByText("It gets events again.").waitFor();
  expect(await shown(gateway, "gone")).toMatchObject({ enabled: true, state: { isGone: false } });
  const before = secure.received.length;
  await keyMade(gateway);
  await until(() => secure.received.length > before);
  await removed(gateway, "gone");
});

screenTest("a webhook of the file is changed there, and gets events again when the file is read", { role: "operator" }, async (console) => {
  const { open, page, gateway } = console;
  hook.answers(410);
  await open("/webhooks/declared");
  await page.getByText("The configuration file declares this webhook").waitFor();
  expect(await page.getByRole("button", { name: "Edit" }).count()).toBe(0);
  await keyMade(gateway);
  await page.getByText("Its receiver has answered 410 Gone").waitFor();
  hook.answers(204);
  await page.getByRole("button", { name: "Enable again" }).click();
  await until(async () => !(await shown(gateway, "declared")).state.isGone);
});

screenTest("a secret is changed and shown once, and a webhook is deleted", async ({ open, page, gateway, axe }) => {
  await made(gateway, "short-lived", ["key.created"], SECURE_URL);
  secure.status = 204;
  await open("/webhooks/short-lived");
  await page.getByRole("button", { name: "Change the secret" }).click();
  await page.getByLabel("Let the secret before go on signing").uncheck();
  await page.getByRole("button", { name: "Make a new secret" }).click();
  const secret = (await page.locator(".secret code").textContent()) ?? "";
  expect(await axe()).toEqual([]);
  await page.keyboard.press("Escape");
  await page.getByRole("dialog").waitFor({ state: "detached" });
  await keyMade(gateway);
  await until(() => secure.received.some((each) => isSigned(each, secret)));
  await page.getByRole("button", { name: "Delete" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Delete" }).click();
  await page.getByText("Webhook short-lived is deleted.").waitFor();
  expect((await gateway.admin("GET", "/admin/webhooks/short-lived")).status).toBe(404);
});

screenTest("a viewer sees webhooks and deliveries, and why nothing can be done", { role: "viewer" }, async ({ open, page, gateway }) => {
  await made(gateway, "seen");
  await open("/webhooks");
  await page.getByRole("link", { name: "seen" }).waitFor();
  expect(await page.getByRole("link", { name: "New webhook" }).count()).toBe(0);
  await page.getByRole("link", { name: "seen" }).click();
  for (const name of ["Edit", "Change the secret", "Delete", "Send a test"])
    expect(await page.getByRole("button", { name }).getAttribute("aria-disabled")).toBe("true");
  await removed(gateway, "seen");
});

emptyTest("where nobody is told anything the screen says what to do", async ({ open, page }) => {
  await open("/webhooks");
  await page.getByText("Nobody is told anything yet.").waitFor();
  expect(await page.getByRole("searchbox").count()).toBe(0);
});
