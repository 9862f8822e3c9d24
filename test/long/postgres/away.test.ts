import { expect } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { PostgresSink } from "../../../src/activities/sinks/postgres.ts";
import { SinkAway } from "../../../src/activities/sinks/sink.ts";
import { postgresServer } from "../../support/postgres.ts";
import { folder, freePort } from "../../support/process.ts";
import { having } from "../../support/programs.ts";
import { slowPath } from "../../support/redis.ts";
import { delivered, insert, int, parsed, runsOf } from "../../support/runs.ts";
import { CERTIFICATE } from "../../support/tls.ts";

const tests = having("postgres");
const one = (id: string) => runsOf(parsed([insert("t", { a: int(1) })]), () => id);

/** Applies one row. Gives "applied", or what a sink that is away says; throws what is thrown beside. */
async function tried(config: { url: string; ca?: string | null; schema?: string }, sink?: PostgresSink): Promise<string> {
  const own = sink ?? new PostgresSink({ schema: "public", ca: null, ...config }, { keepsLog: false });
  try {
    expect(await own.apply(one(Bun.randomUUIDv7()), delivered())).toEqual([null]);
    return "applied";
  } catch (error) {
    if (error instanceof SinkAway) return error.message;
    throw error;
  } finally {
    if (sink === undefined) await own.close();
  }
}

tests.test("a sink says which server is away and why, and never the password", async () => {
  const password = "p@ss/word:1";
  await using server = await postgresServer({ password });
  const name = `PostgreSQL at 127.0.0.1:${server.port} (database postgres, user sluice)`;
  expect(await tried({ url: server.url })).toBe("applied");
  const wrong = server.url.replace(encodeURIComponent(password), "wrong-secret");
  const told = [
    await tried({ url: wrong }),
    await tried({ url: `postgres://sluice:secret-word@127.0.0.1:${freePort()}/postgres` }),
    await tried({ url: server.url, ca: "/nonexistent/ca.pem" }),
    await tried({ url: server.url, schema: "pg_catalog" }),
  ];
  expect(told[0]).toBe(
    `${name}: password authentication failed for user "sluice". Check the user and the password in \`url\`, and pg_hba.conf on the server`,
  );
  expect(told[1]).toMatch(/^PostgreSQL at 127\.0\.0\.1:\d+ \(database postgres, user sluice\) can't be reached: /);
  expect(told[2]).toContain("can't be read");
  expect(told[3]).toContain("name another one in `schema`");
  for (const text of told) expect(text).not.toMatch(/secret|p@ss|p%40ss/);
  const absent = new URL(server.url);
  absent.pathname = "/absent";
  expect(await tried({ url: absent.href })).toBe(
    `PostgreSQL at 127.0.0.1:${server.port} (database absent, user sluice): database "absent" does not exist. Make the database, or name another one in \`url\``,
  );
  // Not the owner of the database: no schema can be made.
  await server.client().unsafe("CREATE ROLE poor LOGIN PASSWORD 'poor-secret'");
  const poor = new URL(server.url);
  poor.username = "poor";
  poor.password = "poor-secret";
  expect(await tried({ url: poor.href, schema: "fresh" })).toMatch(
    /own tables can't be made in the schema fresh: permission denied.*Grant the user CREATE/,
  );
});

tests.test("certificates are verified by name and by who signed them, where that is wanted", async () => {
  using place = folder();
  const ca = join(place.path, "ca.pem");
  writeFileSync(ca, CERTIFICATE);
  await using server = await postgresServer({ tls: true, password: "secret" });
  const strict = `${server.url}?sslmode=verify-full`;
  expect(await tried({ url: strict, ca })).toBe("applied");
  // The file alone is enough.
  expect(await tried({ url: server.url, ca })).toBe("applied");
  expect(await tried({ url: strict.replace("127.0.0.1", "localhost"), ca })).toBe("applied");
  expect(await tried({ url: strict })).toContain("can't be reached");
  expect(await tried({ url: strict.replace("127.0.0.1", "127.0.0.2"), ca })).toContain("can't be reached");
  expect(await tried({ url: server.url })).toContain("no pg_hba.conf entry");
});

tests.test("a connection that was closed while it was idle fails no portion", async () => {
  await using server = await postgresServer();
  const client = server.client();
  const sink = new PostgresSink({ url: server.url, schema: "public", ca: null }, { keepsLog: true });
  expect(await tried(server, sink)).toBe("applied");
  await client.unsafe("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'sluice'");
  expect(await tried(server, sink)).toBe("applied");
  await client.unsafe("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'sluice'");
  expect(await sink.ledger?.newest()).toBe("2");
  await server.kill();
  expect(await tried(server, sink)).toContain("can't be reached");
  await server.start();
  expect(await tried(server, sink)).toBe("applied");
  await server.stop();
  await server.start();
  expect(await tried(server, sink)).toBe("applied");
  await sink.close();
});

tests.test("an answer to COMMIT that is lost leaves nothing out and nothing twice", async () => {
  await using server = await postgresServer();
  const client = server.client();
  for (let cut = 0; cut < 40; cut++) {
    // Nothing comes through from some moment on, in which the connection is closed then.
    using path = slowPath(server);
    const url = server.url.replace(String(server.port), new URL(path.url).port);
    const sink = new PostgresSink({ url, schema: "public", ca: null }, { keepsLog: false });
    const applying = Promise.resolve(sink.apply(one(`cut:${cut}`), delivered())).catch((error: unknown) => error);
    await Bun.sleep(Math.random() * 40);
    path[Symbol.dispose]();
    const outcome = await applying;
    if (outcome instanceof Error) expect(outcome).toBeInstanceOf(SinkAway);
    await sink.close();
    const other = new PostgresSink({ url: server.url, schema: "public", ca: null }, { keepsLog: false });
    await other.apply(one(`cut:${cut}`), delivered());
    await other.close();
    const [rows] = await client.unsafe("SELECT count(*)::int AS rows FROM t");
    expect(rows).toEqual({ rows: cut + 1 });
  }
});

tests.test("a table that somebody holds locked, and a standby, are waited for", async () => {
  await using server = await postgresServer();
  const client = server.client();
  const sink = new PostgresSink({ url: server.url, schema: "public", ca: null }, { keepsLog: false });
  expect(await tried(server, sink)).toBe("applied");
  const locked = await client.reserve();
  await locked.unsafe("BEGIN; LOCK TABLE t").simple();
  expect(await tried(server, sink)).toMatch(/canceling statement due to lock timeout.*Another session holds a table locked/);
  await locked.unsafe("ROLLBACK").simple();
  locked.release();
  expect(await tried(server, sink)).toBe("applied");
  await sink.close();
});
