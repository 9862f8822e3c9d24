import { Database } from "bun:sqlite";
import { describe, expect, test } from "bun:test";
import { readdirSync } from "node:fs";
import { join, resolve } from "node:path";
import { backend } from "../support/backend.ts";
import { folder, run, start } from "../support/process.ts";
import { RawConnection } from "../support/raw.ts";

const EXAMPLES = resolve(import.meta.dir, "../../examples/plugins");
const example = (name: string, options: object) => ({ file: join(EXAMPLES, name), options });

describe("the example", () => {
  test("tenant.ts tells the backend whose subdomain was asked, and limits count each apart", async () => {
    using behind = backend();
    await using gateway = await start({
      config: {
        plugins: [example("tenant.ts", { domain: "example.com" })],
        tiers: { anonymous: { limits: [] } },
        routes: [
          {
            path: "/api",
            upstream: behind.url,
            auth: "none",
            limits: [{ algorithm: "fixed-window", limit: 2, window: "1h", by: "tag:tenant" }],
          },
        ],
      },
    });
    const as = async (host: string): Promise<string> => {
      const connection = await RawConnection.open(gateway.port);
      connection.write(`GET /api/x HTTP/1.1\r\nHost: ${host}\r\nX-Tenant: forged\r\nConnection: close\r\n\r\n`);
      return await connection.untilClosed();
    };
    expect(await as("acme.example.com")).toContain('"x-tenant":"acme"');
    expect(await as("ACME.example.com:8080")).toContain('"x-tenant":"acme"');
    expect(await as("acme.example.com")).toStartWith("HTTP/1.1 429");
    expect(await as("other.example.com")).toContain('"x-tenant":"other"');
    expect(await as("example.com")).toStartWith("HTTP/1.1 404");
    expect(await as("a.b.example.com")).toStartWith("HTTP/1.1 404");
  });

  test("legacy-session.ts lets in who has a session of the old application, and nobody else", async () => {
    using behind = backend();
    using home = folder();
    const file = join(home.path, "sessions.db");
    const store = new Database(file);
    store.run("CREATE TABLE sessions (id TEXT PRIMARY KEY, user TEXT, plan TEXT, rights TEXT, expires INTEGER)");
    const insert = store.query("INSERT INTO sessions VALUES (?1, ?2, ?3, ?4, ?5)");
    const soon = Math.floor(Date.now() / 1000) + 1000;
    insert.run("one", "ada", "paid", "read write", soon);
    insert.run("old", "ben", "paid", "read", 1);
    await using gateway = await start({
      config: {
        plugins: [example("legacy-session.ts", { database: file, tiers: { paid: "pro" } })],
        routes: [{ path: "/api", upstream: behind.url, scopes: ["write"] }],
      },
    });
    const as = (cookie: string) => fetch(`${gateway.url}/api/x`, { headers: { cookie } });
    const { headers } = (await (await as("a=b; sid=one")).json()) as { headers: Record<string, string> };
    expect(headers).toMatchObject({ "x-consumer-id": "ada", "x-consumer-tier": "pro" });
    expect([(await as("sid=old")).status, (await as("sid=none")).status, (await as("")).status]).toEqual([401, 401, 401]);
    insert.run("late", "eve", "paid", "read", soon);
    expect((await as("sid=late")).status).toBe(403);
    store.close();
  });

  test("hide-fields.ts shows a field to those alone who have its scope, also from the cache", async () => {
    const keys = { some: "a-key-without-scopes-01", all: "a-key-with-the-scope-02" };
    const people = [{ name: "Ada", email: "ada@example.com", boss: { name: "Ben", email: "ben@example.com" } }];
    let asked = 0;
    using behind = Bun.serve({
      hostname: "127.0.0.1",
      port: 0,
      fetch: () => {
        asked++;
        return Response.json(people, { headers: { "cache-control": "max-age=60", etag: '"1"' } });
      },
    });
    await using gateway = await start({
      config: {
        plugins: [example("hide-fields.ts", { fields: { email: "people:email" } })],
        routes: [{ path: "/people", upstream: behind.url.origin, cache: { ttl: "60s", shared: true } }],
        consumers: [
          { id: "some", tier: "pro", keys: [keys.some] },
          { id: "all", tier: "pro", keys: [{ key: keys.all, scopes: ["people:email"] }] },
        ],
      },
    });
    const as = async (key: string, more: Record<string, string> = {}) => {
      const answer = await fetch(`${gateway.url}/people`, { headers: { "x-api-key": key, ...more } });
      return [answer.status, answer.headers.get("cache-control"), answer.headers.get("etag"), await answer.json()];
    };
    const hidden = [200, "private", null, [{ name: "Ada", boss: { name: "Ben" } }]];
    expect(await as(keys.some)).toEqual(hidden);
    expect(await as(keys.all)).toEqual([200, "private", '"1"', people]);
    expect(await as(keys.some, { range: "bytes=0-50" })).toEqual(hidden);
    expect(asked).toBe(1);
  });

  test("each is valid by `sluice check`, and against what `sluice types` prints", async () => {
    using home = folder();
    const options: Readonly<Record<string, object>> = {
      "tenant.ts": { domain: "example.com" },
      "legacy-session.ts": {},
      "hide-fields.ts": {},
    };
    const files = readdirSync(EXAMPLES).filter((name) => name.endsWith(".ts"));
    expect(files.sort()).toEqual(Object.keys(options).sort());
    await Bun.write(
      join(home.path, "config.json"),
      JSON.stringify({ plugins: files.map((name) => example(name, options[name] ?? {})), routes: [] }),
    );
    expect(await run(["check"], { cwd: home.path })).toMatchObject({ status: 0 });

    const printed = await run(["types"], { cwd: home.path });
    expect(printed.status).toBe(0);
    await Bun.write(join(home.path, "sluice.d.ts"), printed.stdout);
    for (const name of files) await Bun.write(join(home.path, name), Bun.file(join(EXAMPLES, name)));
    await Bun.write(
      join(home.path, "wrong.ts"),
      'import type { Plugin } from "sluice";\nexport default { requests() {} } satisfies Plugin;\n',
    );
    const root = resolve(import.meta.dir, "../..");
    await Bun.write(
      join(home.path, "tsconfig.json"),
      JSON.stringify({
        extends: join(root, "tsconfig.json"),
        compilerOptions: { types: ["bun"], typeRoots: [join(root, "node_modules/@types")], skipLibCheck: true },
        include: [],
        files: ["sluice.d.ts", "wrong.ts", ...files],
      }),
    );
    const compiled = Bun.spawnSync([join(root, "node_modules/.bin/tsc"), "--noEmit", "-p", home.path], { cwd: home.path });
    const faults = compiled.stdout.toString().trim().split("\n");
    // Only what is wrong is found wrong.
    expect(faults).toEqual([expect.stringMatching(/^wrong\.ts\(2,18\): error TS2561: .*'requests' does not exist in type 'Plugin/)]);
  }, 60_000);
});
