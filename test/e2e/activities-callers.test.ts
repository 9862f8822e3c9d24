import { expect, test } from "bun:test";
import { start } from "../support/process.ts";

const KEYS = ["a-key-for-activities-0123", "another-key-of-the-same-0123", "a-key-of-somebody-else-0123"] as const;

test("callers of activities are counted: a consumer once, whichever of its keys it shows, and an address of those without one", async () => {
  await using gateway = await start({
    config: {
      tiers: { anonymous: { limits: [] }, plain: { limits: [] } },
      consumers: [
        { id: "acme", tier: "plain", keys: [KEYS[0], KEYS[1]] },
        { id: "globex", tier: "plain", keys: [KEYS[2]] },
      ],
      activities: { auth: "optional" },
    },
  });
  const post = (headers: Record<string, string>, body: string) =>
    fetch(`${gateway.url}/api/activities`, { method: "POST", headers, body }).then((answer) => answer.status);
  const insert = { operation: "insert", table: "t", colNames: ["id"], colTypes: ["INTEGER"], colValues: [1] };
  const callers = async () => {
    const text = await (await fetch(`${gateway.url}/metrics`)).text();
    const { callers } = (await (await gateway.admin("GET", "/admin/activities")).json()) as { callers: number };
    return [Number(/^sluice_activities_callers (\d+)$/m.exec(text)?.[1]), callers];
  };
  expect(await callers()).toEqual([0, 0]);
  // Who is refused for what was sent is a caller as well; whose key is not known is none.
  const sent = [
    ...[...KEYS, KEYS[0]].map((key) => post({ "x-api-key": key }, JSON.stringify({ activities: [insert] }))),
    post({}, JSON.stringify({ activities: [insert] })),
    post({}, "{}"),
    post({ "x-api-key": "a-key-that-nobody-has-0123" }, "{}"),
  ];
  expect(await Promise.all(sent)).toEqual([202, 202, 202, 202, 202, 422, 401]);
  expect(await callers()).toEqual([3, 3]);
});
