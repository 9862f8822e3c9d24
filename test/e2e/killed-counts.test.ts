import { describe, expect, test } from "bun:test";
import { ALGORITHMS, algorithmsWith } from "../../src/limits/algorithms/registry.ts";
import { backend } from "../support/backend.ts";
import { folder, start } from "../support/process.ts";

const KEY = "a-key-for-the-tests-0123456789";
const WINDOWS = ["1m", "2h"];
const windowed = algorithmsWith(({ windowed }) => windowed);
const nameOf = (algorithm: string, window: string) => `${algorithm}-${window}`;

/** A gateway with a limit of each algorithm over a minute and two hours, and a quota, each on a route of its own. */
const configOf = (url: string) => ({
  logging: { accessLog: false },
  tiers: { plain: { limits: [], quota: { limit: 6, period: "month" } } },
  consumers: [{ id: "acme", tier: "plain", keys: [KEY] }],
  routes: [
    ...windowed.flatMap((algorithm) =>
      WINDOWS.map((window) => ({
        path: `/${nameOf(algorithm, window)}`,
        upstream: url,
        auth: "none",
        // A bucket and cells come back too slowly for this test to see one.
        limits: [{ algorithm, limit: 6, window: ALGORITHMS[algorithm].capacity === null ? window : "2h", by: "global" }],
      })),
    ),
    { path: "/quota", upstream: url },
  ],
});

describe.each(["SIGKILL", "SIGTERM"] as const)("after %s", (signal) => {
  test("every limit goes on where it stood, whatever its window", async () => {
    using data = folder();
    using behind = backend();
    const options = { config: configOf(behind.url), cwd: data.path };
    const paths = [...windowed.flatMap((algorithm) => WINDOWS.map((window) => nameOf(algorithm, window))), "quota"];
    const ask = async (url: string, path: string) => (await fetch(`${url}/${path}`, { headers: { "x-api-key": KEY } })).status;
    const askAll = async (url: string, times: number) =>
      Object.fromEntries(
        await Promise.all(
          paths.map(async (path) => {
            let granted = 0;
            for (let i = 0; i < times; i++) if ((await ask(url, path)) === 200) granted++;
            return [path, granted] as const;
          }),
        ),
      );
    {
      await using gateway = await start(options);
      expect(await askAll(gateway.url, 4)).toEqual(Object.fromEntries(paths.map((path) => [path, 4])));
      await gateway.stop(signal);
    }
    await using gateway = await start(options);
    expect(gateway.output()).not.toContain("countsInMemory");
    expect(await askAll(gateway.url, 5)).toEqual(Object.fromEntries(paths.map((path) => [path, 2])));
  });
});
