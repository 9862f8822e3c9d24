import { expect, test } from "bun:test";
import { connect, type Socket } from "node:net";
import { fakeModel } from "../support/fake-model.ts";
import { CALLER } from "../support/model-gateway.ts";
import { start } from "../support/process.ts";
import { until } from "../support/until.ts";

test("while too much of large bodies is read, a further one is told to come again in a second, and no small one", async () => {
  using provider = await fakeModel();
  await using gateway = await start({
    config: {
      tiers: { plain: { limits: [] } },
      consumers: [{ id: "acme", tier: "plain", keys: [CALLER] }],
      routes: [{ name: "llm", path: "/", upstream: provider.url, stripPrefix: false, models: ["gpt-5"], maxBodySize: "16mb" }],
    },
  });
  const ask = (content: string | ReadableStream<Uint8Array>) =>
    fetch(`${gateway.url}/v1/chat/completions`, {
      method: "POST",
      headers: { authorization: `Bearer ${CALLER}`, "content-type": "application/json" },
      body: content,
    });
  const body = (size: number) => JSON.stringify({ model: "gpt-5", messages: [{ role: "user", content: "x".repeat(size) }] });
  const { hostname, port } = new URL(gateway.url);
  const head = `POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer ${CALLER}\r\nContent-Type: application/json\r\nContent-Length: 16000000\r\n\r\n{`;
  // More than the 128 MB that may be under way.
  const sockets: Socket[] = Array.from({ length: 9 }, () =>
    connect(Number(port), hostname, function (this: Socket) {
      this.on("error", () => {}).write(head);
    }),
  );
  let answer = new Response();
  await until(async () => {
    answer = await ask(body(2_000_000));
    return answer.status !== 200;
  });
  expect([answer.status, answer.headers.get("retry-after"), ((await answer.json()) as { code: string }).code]).toEqual([
    503,
    "1",
    "limiterUnavailable",
  ]);
  const chunked = await ask(new Blob([body(2_000_000)]).stream());
  expect([chunked.status, chunked.headers.get("retry-after")]).toEqual([503, "1"]);
  expect((await ask(body(1000))).status).toBe(200);
  for (const socket of sockets) socket.destroy();
  await until(async () => (await ask(body(2_000_000))).status === 200);
});
