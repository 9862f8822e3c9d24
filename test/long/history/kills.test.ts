// What became of requests over real minutes, while processes are killed: each request is in history once, as far as somebody could know of it.
import { expect, test } from "bun:test";
import type { HistoryResponse } from "../../../src/history/admin.ts";
import { backend } from "../../support/backend.ts";
import { folder, type Running } from "../../support/process.ts";
import { killAndWait, partOf, startAll } from "../../support/processes.ts";
import { until } from "../../support/until.ts";

const TRIAL = { name: "trial", algorithm: "fixed-window", limit: 10, window: "1h", shadow: true };
const configOf = (url: string) => ({
  server: { workers: 2 },
  logging: { accessLog: false },
  tiers: { anonymous: { limits: [] }, free: { limits: [TRIAL] } },
  consumers: [{ id: "acme", tier: "free", keys: ["acme-key-0123456789"] }],
  routes: [{ name: "shop", path: "/shop", upstream: url }],
});

/** Sends requests over connections of their own, so that any worker may get each; gives the number that were answered. */
async function call(gateway: Running, times: number): Promise<number> {
  let answered = 0;
  for (let i = 0; i < times; i++) {
    const headers = { connection: "close", "x-api-key": "acme-key-0123456789" };
    const answer = await fetch(`${gateway.url}/shop`, { headers }).catch(() => null);
    await answer?.text();
    if (answer?.status === 200) answered++;
  }
  return answered;
}

const ask = async (gateway: Running, query: string): Promise<HistoryResponse> =>
  (await (await gateway.admin("GET", `/admin/history?step=minute&${query}`)).json()) as HistoryResponse;
const ofShop = (gateway: Running): Promise<HistoryResponse> => ask(gateway, "by=route&name=shop");
const ofAcme = async (gateway: Running): Promise<number> => (await ask(gateway, "by=consumer&name=acme")).total.requests;
const shadowed = async (gateway: Running): Promise<{ requests: number; refused: number }> => {
  const { items } = (await (await gateway.admin("GET", "/admin/shadow")).json()) as {
    items: { day: { requests: number; refused: number } }[];
  };
  return items[0]?.day ?? { requests: 0, refused: 0 };
};

test("history of several processes has each request once, whichever of them is killed, also all at once", async () => {
  using behind = backend();
  using home = folder();
  const options = { config: configOf(behind.url), cwd: home.path };
  const first = await startAll(options);
  let sent = await call(first, 40);
  await until(async () => (await shadowed(first)).requests === sent);
  expect(await shadowed(first)).toEqual({ requests: sent, refused: sent - 10 });
  expect(await ofAcme(first)).toBe(sent);
  expect((await ofShop(first)).total.requests).toBe(sent);

  // A worker: what it had counted lies where the keeper reads it.
  sent += await call(first, 30);
  await killAndWait(first, "1");
  expect((await ofShop(first)).total.requests).toBe(sent);
  expect(await ofAcme(first)).toBe(sent);

  // The keeper: requests go on meanwhile, and the next one goes on from its mark.
  process.kill(partOf(first.pid, "keeper") ?? 0, "SIGKILL");
  sent += await call(first, 30);
  await until(async () => (await first.admin("GET", "/admin/history").catch(() => null))?.status === 200);
  expect((await ofShop(first)).total.requests).toBe(sent);

  // A minute passes by itself.
  const minutes = (await ofShop(first)).items.length;
  await until(async () => (await ofShop(first)).items.length > minutes, 150_000);
  sent += await call(first, 20);
  const later = await ofShop(first);
  expect(later.total.requests).toBe(sent);
  expect(later.items.at(-1)?.requests).toBe(20);
  for (const { seconds } of later.items.slice(0, -1)) expect(seconds).toBeWithin(0, 65);

  // All of it: nobody has written the last requests, and the next start does.
  sent += await call(first, 25);
  const all = ["keeper", "1", "2"].map((name) => partOf(first.pid, name) ?? 0);
  await first.stop("SIGKILL");
  for (const pid of all) {
    try {
      process.kill(pid, "SIGKILL");
    } catch {
      // It has ended with its supervisor.
    }
  }
  const second = await startAll(options);
  expect((await ofShop(second)).total.requests).toBe(sent);
  sent += await call(second, 15);
  expect((await ofShop(second)).total.requests).toBe(sent);

  // A stop writes what has come.
  expect(await second.stop("SIGTERM")).toBe(0);
  const third = await startAll(options);
  expect((await ofShop(third)).total.requests).toBe(sent);
  expect(await third.stop("SIGTERM")).toBe(0);
}, 400_000);
