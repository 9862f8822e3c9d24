import { describe, expect, test } from "bun:test";
import { SinkAway } from "../../src/activities/sinks/sink.ts";
import { lastState, openSink, runsOf } from "../support/bigquery-sink.ts";
import { insert, int, remove, text } from "../support/runs.ts";

const people = (id: number, name = "Ann") => insert("people", { id: int(id), name: text(name) });
const away = async (work: Promise<unknown>): Promise<string> => {
  const error = await work.then(
    () => new Error("nothing was thrown"),
    (thrown: unknown) => thrown as Error,
  );
  if (!(error instanceof SinkAway)) throw error;
  return error.message;
};

describe("rows that are streamed to BigQuery", () => {
  test("make the table, its columns and its view, and say what was done, when and in which order", async () => {
    await using it = await openSink({ rank: 1 });
    expect(
      await it.apply(
        insert("People", {
          id: int("9223372036854775807"),
          name: ["VARCHAR(20)", 'An "n"'],
          ok: ["BOOLEAN", true],
          score: ["DOUBLE", 0.1],
          price: ["DECIMAL(20,4)", "12.5"],
          wide: ["DECIMAL(50,20)", "-0.5"],
          widest: ["DECIMAL(100,50)", "1"],
          share: ["DECIMAL(4,4)", "0.25"],
        }),
        insert("PEOPLE", { ID: int(2), note: text(null) }),
        remove("people", { name: text("Bob"), Id: int(3) }),
      ),
    ).toEqual([null, null, null]);
    expect(it.server.names()).toEqual(["people", "people_current"]);
    expect(it.server.fields("people").map(({ name, type, precision, scale }) => [name, type, precision, scale])).toEqual([
      ["id", "INTEGER", undefined, undefined],
      ["name", "STRING", undefined, undefined],
      ["ok", "BOOLEAN", undefined, undefined],
      ["score", "FLOAT", undefined, undefined],
      ["price", "NUMERIC", "20", "4"],
      ["wide", "BIGNUMERIC", "50", "20"],
      ["widest", "STRING", undefined, undefined],
      ["share", "NUMERIC", "5", "4"],
      ["note", "STRING", undefined, undefined],
      ["_op", "STRING", undefined, undefined],
      ["_seq", "INTEGER", undefined, undefined],
      ["_id", "STRING", undefined, undefined],
      ["_at", "TIMESTAMP", undefined, undefined],
      ["_cols", "STRING", undefined, undefined],
    ]);
    expect(it.server.resource("people").timePartitioning).toEqual({ type: "DAY", field: "_at" });
    const _at = new Date(it.clock.time).toISOString();
    expect(it.server.rows("people")).toEqual([
      {
        id: "9223372036854775807",
        name: 'An "n"',
        ok: true,
        score: 0.1,
        price: "12.5",
        wide: "-0.5",
        widest: `1.${"0".repeat(50)}`,
        share: "0.25",
        _op: "insert",
        _seq: String(2n ** 59n + 1n),
        _id: "b:1",
        _at,
      },
      { id: "2", _op: "insert", _seq: String(2n ** 59n + 2n), _id: "b:2", _at },
      { id: "3", name: "Bob", _op: "delete", _cols: "id,name", _seq: String(2n ** 59n + 3n), _id: "b:3", _at },
    ]);
    expect(it.server.count("tabledata.insertAll")).toBe(1);
    expect(it.troubles).toEqual([]);
  });

  test("add columns that came later, and the view has them", async () => {
    await using it = await openSink();
    await it.apply(people(1));
    await it.apply(insert("people", { id: int(2), Age: int(40) }));
    expect(it.server.fields("people").map(({ name }) => name)).toEqual(["id", "name", "_op", "_seq", "_id", "_at", "_cols", "Age"]);
    expect(lastState(it.server, "people")).toEqual([
      { id: 1n, name: "Ann", Age: null, _id: "b:1", _seq: 1n, _at: expect.any(String) },
      { id: 2n, name: null, Age: 40n, _id: "b:2", _seq: 2n, _at: expect.any(String) },
    ]);
    // What another instance does meanwhile is not undone: neither for the table nor for the view.
    expect(it.server.requests.filter(({ method }) => method === "tables.patch").map(({ match }) => match)).toEqual(['"1"', '"1"']);
    const asked = it.server.requests.length;
    await it.apply(people(3), remove("people", { age: int(40) }));
    expect(it.server.requests.slice(asked).map(({ method }) => method)).toEqual(["tabledata.insertAll"]);
    expect(lastState(it.server, "people").map(({ id }) => id)).toEqual([1n, 3n]);
  });

  test("are converted to the type that the column has, and fail where they do not fit", async () => {
    await using it = await openSink();
    await it.apply(insert("t", { n: int(1), s: ["VARCHAR(3)", "abc"], b: ["BOOLEAN", true], d: ["DECIMAL(5,2)", "1.5"] }));
    expect(
      await it.apply(
        insert("t", { n: text("2"), s: int(12), b: text("false"), d: text("2.25") }),
        insert("t", { n: text("two") }),
        insert("t", { s: text("abcd") }),
        insert("t", { d: text("1.234") }),
        remove("t", { n: text("x") }),
      ),
    ).toEqual([
      null,
      'the column n of t is INTEGER: the value must be a whole number, got "two"',
      "the column s of t is VARCHAR(3): the value has more than 3 characters",
      "the column d of t is DECIMAL(5,2): the value has 3 digits behind the point, DECIMAL(5,2) takes 2",
      'the column n of t is INTEGER: the value must be a whole number, got "x"',
    ]);
    expect(it.server.rows("t")[1]).toMatchObject({ n: "2", s: "12", b: false, d: "2.25" });
  });

  test("fail for names that can't be columns, and the others are stored", async () => {
    await using it = await openSink();
    expect(
      await it.apply(
        insert("t", { _ID: int(1) }),
        people(1),
        insert("t", { _partitiontime: int(1) }),
        insert("t", { n: int(1) }),
        insert("t", { _sluice_key: int(1), n: int(2) }),
      ),
    ).toEqual([
      "the column _ID can't be kept: Sluice's own columns in BigQuery have such names",
      null,
      "the column _partitiontime can't be kept: BigQuery keeps such names for itself",
      null,
      "the column _sluice_key can't be kept: Sluice's own columns in BigQuery have such names",
    ]);
    expect(it.server.rows("t").map(({ n }) => n)).toEqual(["1"]);
    expect(it.server.rows("people")).toHaveLength(1);
  });

  test("deletes fail when there is no table or column before them", async () => {
    await using it = await openSink();
    expect(
      await it.apply(remove("t", { n: int(1) }), insert("t", { n: int(1) }), remove("t", { n: int(1) }), remove("t", { m: int(1) })),
    ).toEqual(["there is no table t", null, null, "the table t has no column m"]);
    expect(it.server.current("t")).toEqual([]);
    expect(await it.apply(remove("t", { m: int(1) }), remove("u", { m: int(1) }))).toEqual([
      "the table t has no column m",
      "there is no table u",
    ]);
    expect(it.server.names()).toEqual(["t", "t_current"]);
  });

  test("go into tables that were there, beside columns of other types", async () => {
    await using it = await openSink();
    it.server.make("orders", [
      { name: "Number", type: "INTEGER", mode: "NULLABLE" },
      { name: "made", type: "TIMESTAMP" },
    ]);
    expect(
      await it.apply(
        insert("orders", { number: int(7), made: text("2026-11-21T10:00:00Z") }),
        insert("orders", { number: int(8), made: text("yesterday") }),
      ),
    ).toEqual([null, "BigQuery does not take the row: Cannot convert value to timestamp (bad value): yesterday"]);
    expect(it.server.rows("orders")).toEqual([expect.objectContaining({ Number: "7", made: "2026-11-21T10:00:00.000Z", _op: "insert" })]);
    expect(it.server.fields("orders")[0]).toEqual({ name: "Number", type: "INTEGER", mode: "NULLABLE" });
    it.server.make("others", [{ name: "n", type: "INTEGER" }]);
    expect(await it.apply(remove("others", { n: int(1) }), remove("others", { m: int(1) }))).toEqual([
      null,
      "the table others has no column m",
    ]);
    expect(it.server.rows("others")).toEqual([expect.objectContaining({ n: "1", _op: "delete", _cols: "n" })]);
  });

  test("do not go into a view, and a table that has a view's name is left as it is", async () => {
    await using it = await openSink();
    await it.apply(insert("b_current", { n: int(1) }), insert("a", { n: int(1) }));
    expect(await it.apply(insert("a_current", { n: int(1) }), insert("b", { n: int(1) }))).toEqual([
      "a_current is no table that rows can be kept in",
      null,
    ]);
    expect(it.troubles).toEqual(["the view b_current of the last state can't be made: there is a table of this name"]);
    expect(it.server.rows("b_current")).toHaveLength(1);
  });

  test("fail when their columns are too many, and those that need no new column are stored", async () => {
    await using it = await openSink();
    it.server.make("t", [...Array.from({ length: 9_993 }, (_, i) => ({ name: `c${i}`, type: "INTEGER" }))]);
    const [first, second, third] = await it.apply(
      insert("t", { c1: int(1), a: int(1) }),
      insert("t", { a: int(2), b: int(2), c: int(3) }),
      insert("t", { c2: int(2) }),
    );
    expect(first).toBe("the table t can't be changed: Too many total leaf fields: limit: 10000");
    expect(second).toBe(first as string);
    // Sluice's own columns were among those that could not be made.
    expect(third).toBe(first as string);
    expect(await it.apply(insert("t", { c1: int(1), a: int(1) }), insert("t", { c2: int(2) }))).toEqual([null, null]);
    expect(await it.apply(insert("t", { x: int(1), y: int(1) }), insert("t", { c2: int(3) }))).toEqual([first as string, null]);
    expect(it.server.rows("t").map(({ c2 }) => c2)).toEqual([undefined, "2", "3"]);
  });

  test("go in requests of 500 rows and 5 MB, and a row that is larger fails", async () => {
    await using it = await openSink();
    await it.apply(...Array.from({ length: 1200 }, (_, i) => people(i)));
    expect(it.sink.portion).toEqual({ max: 2000, every: 0 });
    const sizes = () => it.server.requests.filter(({ rows }) => rows > 0).map(({ rows }) => rows);
    expect(sizes().sort()).toEqual([200, 500, 500]);
    const outcomes = await it.apply(...[2, 2, 2, 6, 1].map((megabytes, i) => people(i, "é".repeat(megabytes * 500_000))));
    expect(sizes().slice(3).sort()).toEqual([2, 2]);
    expect(outcomes.map((outcome) => outcome === null)).toEqual([true, true, true, false, true]);
    expect(outcomes[3]).toBe("the row has 6000095 bytes, BigQuery takes 5000000");
  });

  test("that BigQuery refuses fail by themselves, and those that it stopped for them are stored once", async () => {
    await using it = await openSink();
    await it.apply(people(0));
    it.server.change("people", (fields) => [...fields, { name: "must", type: "STRING", mode: "REQUIRED" }]);
    const outcomes = await it.apply(people(1), insert("people", { name: text("x"), must: text("y") }), people(3));
    expect(outcomes).toEqual([
      "BigQuery does not take the row: Missing required field: must.",
      null,
      "BigQuery does not take the row: Missing required field: must.",
    ]);
    expect(it.server.rows("people").map(({ _id }) => _id)).toEqual(["b:1", "b:3"]);
  });

  test("are split when a request is refused as a whole", async () => {
    await using it = await openSink();
    await it.apply(people(0));
    it.server.misbehave("tabledata.insertAll", { status: 413, reason: "requestTooLarge" }, 2);
    expect(await it.apply(people(1), people(2), people(3), people(4))).toEqual([null, null, null, null]);
    it.server.misbehave("tabledata.insertAll", { status: 400, reason: "invalid", message: "The request is malformed." }, 3);
    expect(await it.apply(...Array.from({ length: 4 }, (_, i) => people(i)))).toEqual([
      "BigQuery does not take the row: The request is malformed.",
      null,
      null,
      null,
    ]);
    expect(it.server.rows("people")).toHaveLength(8);
  });
});

describe("BigQuery that is slow to learn", () => {
  test("does not know a table that was just made: rows wait for it", async () => {
    await using it = await openSink();
    it.server.settleTables = 20_000;
    expect(await it.apply(people(1), people(2))).toEqual([null, null]);
    expect(it.pauses).toEqual([1000, 2000, 4000, 8000, 15_000]);
    expect(it.server.rows("people")).toHaveLength(2);
  });

  test("does not know a column that was just added: rows wait for it, and none fails", async () => {
    await using it = await openSink();
    await it.apply(people(1));
    it.server.settleColumns = 10_000;
    expect(await it.apply(insert("people", { id: int(2), age: int(3) }), people(3))).toEqual([null, null]);
    expect(it.server.rows("people").map(({ _id }) => _id)).toEqual(["b:1", "b:2", "b:3"]);
    // Once more, much later: that is another wait.
    it.clock.advance(3_600_000);
    it.server.misbehave("tabledata.insertAll", { error: { reason: "invalid", message: "no such field: age." } });
    expect(await it.apply(insert("people", { id: int(2), age: int(3) }))).toEqual([null]);
  });

  test("keeps the sink away when that takes minutes, and the same rows go in later", async () => {
    await using it = await openSink();
    await it.apply(people(1));
    it.server.settleColumns = 300_000;
    const runs = runsOf([insert("people", { id: int(2), age: int(3) })], 2);
    for (let i = 0; i < 4; i++)
      expect(await away(it.deliver(runs, i > 0))).toBe("BigQuery does not know the column age of people everywhere yet");
    it.clock.advance(60_000);
    expect(await it.deliver(runs, true)).toEqual([null]);
    it.server.settleTables = 300_000;
    const others = runsOf([insert("animals", { id: int(2) })], 3);
    expect(await away(it.deliver(others))).toBe("BigQuery does not know the table animals everywhere yet");
    it.clock.advance(300_000);
    expect(await it.deliver(others, true)).toEqual([null]);
  });

  test("gives rows up whose column it says it has, and does not take for a quarter of an hour", async () => {
    await using it = await openSink();
    await it.apply(people(1));
    it.server.settleColumns = Number.POSITIVE_INFINITY;
    // Other requests for the table go through meanwhile.
    const others = Array.from({ length: 500 }, (_, i) => people(i));
    const runs = runsOf([insert("people", { id: int(2), age: int(3) }), people(3), ...others], 2);
    const started = it.clock.time;
    let outcomes: unknown = null;
    while (outcomes === null) outcomes = await it.deliver(runs).catch((error) => (error instanceof SinkAway ? null : error));
    expect(outcomes).toEqual(["BigQuery does not take the row: no such field: age.", null, ...others.map(() => null)]);
    expect(it.clock.time - started).toBeWithin(900_000, 1_000_000);
  });

  test("a table or a column that somebody drops is made again", async () => {
    await using it = await openSink();
    await it.apply(people(1));
    it.server.change("people", (fields) => fields.filter(({ name }) => name !== "name"));
    const runs = runsOf([people(2)], 2);
    expect(await away(it.deliver(runs))).toBe("name was dropped while rows for it were on their way: it is made again");
    expect(await it.deliver(runs)).toEqual([null]);
    it.server.dropTable("people");
    expect(await away(it.deliver(runs))).toBe("the table people was dropped while rows for it were on their way: it is made again");
    expect(await it.deliver(runs)).toEqual([null]);
    expect(it.server.rows("people")).toEqual([expect.objectContaining({ id: "2", name: "Ann" })]);
  });

  test("another instance adds columns and tables at the same time", async () => {
    await using it = await openSink();
    const other = it.open();
    await it.apply(people(0));
    for (let round = 0; round < 10; round++) {
      const outcomes = await Promise.all([
        it.deliver(
          runsOf(
            [insert("people", { id: int(1), [`a${round}`]: int(1), both: text("x") }), insert(`t${round}`, { a: int(1) })],
            10 * round,
            "x",
          ),
        ),
        it.deliver(
          runsOf(
            [insert("people", { id: int(2), [`b${round}`]: int(2), Both: text("y") }), insert(`t${round}`, { b: int(1) })],
            10 * round,
            "y",
          ),
          false,
          other,
        ),
      ]);
      expect(outcomes).toEqual([
        [null, null],
        [null, null],
      ]);
      expect(lastState(it.server, `t${round}`)).toHaveLength(2);
    }
    expect(it.server.fields("people")).toHaveLength(2 + 5 + 20 + 1);
    // The view has all columns, whoever wrote it last.
    expect(Object.keys(lastState(it.server, "people")[0] ?? {})).toHaveLength(2 + 20 + 1 + 3);
    expect(it.troubles).toEqual([]);
    other.close();
  });
});

describe("BigQuery that fails", () => {
  test("is tried again for some seconds, and rows that it stored before the connection broke are not stored twice", async () => {
    await using it = await openSink();
    await it.apply(people(1));
    it.server.misbehave("tabledata.insertAll", { drop: "after" });
    it.server.misbehave("tabledata.insertAll", { status: 503, reason: "backendError" });
    it.server.misbehave("tabledata.insertAll", { status: 403, reason: "rateLimitExceeded" });
    expect(await it.apply(people(2), people(3))).toEqual([null, null]);
    expect(it.pauses).toEqual([500, 2000, 5000]);
    expect(it.server.rows("people")).toHaveLength(3);
    it.server.misbehave("tabledata.insertAll", { error: { reason: "timeout", message: "" } });
    expect(await it.apply(people(4), people(5))).toEqual([null, null]);
    expect(it.server.rows("people")).toHaveLength(5);
  });

  test("is away after that, for a reason that people can read", async () => {
    await using it = await openSink();
    await it.apply(people(1));
    const told = async (...fault: Parameters<typeof it.server.misbehave>): Promise<string> => {
      it.server.misbehave(...fault);
      const message = await away(it.apply(people(2)));
      it.server.behave();
      return message;
    };
    const all = "tabledata.insertAll";
    expect(await told(all, { status: 503, reason: "backendError", message: "Visibility check was unavailable" }, 4)).toBe(
      "BigQuery has a fault of its own (status 503): Visibility check was unavailable",
    );
    expect(await told(all, { status: 403, reason: "quotaExceeded", message: "Exceeded rate limits" }, 4)).toBe(
      "BigQuery's quota is used up for now: Exceeded rate limits",
    );
    expect(await told(all, { status: 429, reason: "rateLimitExceeded", message: "Too many" }, 4)).toBe(
      "BigQuery's quota is used up for now: Too many",
    );
    expect(await told(all, { status: 403, reason: "accessDenied", message: "Access Denied: Table people: Permission denied" })).toBe(
      `BigQuery refuses ${it.server.email}: Access Denied: Table people: Permission denied. Give it the role roles/bigquery.dataEditor on the dataset activities`,
    );
    expect(await told(all, { status: 403, reason: "accessDenied", message: "Streaming insert is not allowed in the free tier." })).toBe(
      "Streaming insert is not allowed in the free tier. Turn billing on for the project, or set every, so that rows are loaded",
    );
    expect(await told(all, { drop: "before" }, 4)).toStartWith("BigQuery can't be reached at 127.0.0.1:");
    expect(await told(all, { error: { reason: "backendError", message: "later" } }, 9)).toBe(
      "BigQuery does not take rows of people for now: later",
    );
    expect(await it.apply(people(9))).toEqual([null]);
  });

  test("has no dataset: the sink is away", async () => {
    await using it = await openSink({ config: { every: "1m" } });
    it.server.dropDataset();
    expect(await away(it.apply(people(1)))).toBe(
      "there is no dataset activities in the project my-project: make it, where you want the data to be",
    );
  });

  test("stops at once when the sink is closed", async () => {
    await using it = await openSink();
    await it.apply(people(1));
    it.server.misbehave("tabledata.insertAll", { status: 503, reason: "backendError" }, 100);
    it.sink.close();
    expect(await away(it.apply(people(2)))).toBe("the sink is being closed");
  });
});

describe("credentials", () => {
  test("are proven once for many requests, and again before the token ends", async () => {
    await using it = await openSink();
    for (let i = 0; i < 5; i++) await it.apply(people(i), insert("t", { n: int(i) }));
    expect(it.server.count("token")).toBe(1);
    it.clock.advance(3_400_000);
    await it.apply(people(6));
    expect(it.server.count("token")).toBe(2);
  });

  test("are proven again once when a token is refused", async () => {
    await using it = await openSink();
    await it.apply(people(1));
    it.server.revoke();
    expect(await it.apply(people(2))).toEqual([null]);
    expect(it.server.count("token")).toBe(2);
    it.server.misbehave("tabledata.insertAll", { status: 401, reason: "authError", message: "Invalid Credentials" }, 2);
    expect(await away(it.apply(people(3)))).toBe(
      `BigQuery does not take the token of ${it.server.email}: Invalid Credentials. Check that the account is there and not disabled`,
    );
  });

  test("come from the metadata server when there is no file", async () => {
    await using it = await openSink({ config: { credentials: null }, key: null });
    expect(await it.apply(people(1))).toEqual([null]);
    it.server.revoke();
    it.server.misbehave("token", { status: 404, reason: "not found" });
    expect(await away(it.apply(people(2)))).toBe(
      "Google's metadata server gave no token (status 404): give this machine a service account, or name the file of a key in credentials",
    );
  });

  test("that are no good are told without a word of the key", async () => {
    await using it = await openSink({ key: { private_key: "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----" } });
    const told = async (content: string | null): Promise<string> => {
      if (content === null) await Bun.file(it.file).delete();
      else await Bun.write(it.file, content);
      const message = await away(it.apply(people(1)));
      expect(message).not.toContain("c2VjcmV0");
      return message.replace(it.file, "FILE");
    };
    expect(await told(await Bun.file(it.file).text())).toBe(
      "the private_key in FILE can't be used: it must be an RSA key as Google gives it (PEM, PKCS #8)",
    );
    expect(await told('{"type":"authorized_user"}')).toBe(
      'the file of the credentials, FILE, must be a service account\'s key ("type": "service_account")',
    );
    expect(await told('{"c2VjcmV0')).toBe("the file of the credentials, FILE, can't be read: it is not JSON");
    expect(await told('{"type":"service_account"}')).toBe(
      "the file of the credentials, FILE, must have client_email, private_key_id and private_key",
    );
    expect(await told(null)).toBe("the file of the credentials, FILE, can't be read: ENOENT");
    expect(await told(await it.server.key({ private_key_id: "another" }))).toBe(
      `Google's token service refuses the key of ${it.server.email} (status 400, invalid_grant: Invalid JWT Signature.): check this machine's time, and whether the key and the account still exist`,
    );
    // The file is read again: whoever mends it need not restart anything.
    await Bun.write(it.file, await it.server.key());
    expect(await it.apply(people(1))).toEqual([null]);
  });
});

test("activity_log in BigQuery tells what became of each activity", async () => {
  await using it = await openSink({ keepsLog: true });
  const first = people(1);
  await it.apply(first, remove("nothing", { n: int(1) }));
  const created_at = new Date(it.clock.time).toISOString();
  expect(it.server.rows("activity_log")).toEqual([
    { id: "b:1", payload: JSON.stringify(first), created_at, is_error: false, state: "applied" },
    {
      id: "b:2",
      payload: JSON.stringify(remove("nothing", { n: int(1) })),
      created_at,
      is_error: true,
      error_message: "there is no table nothing",
      state: "failed",
    },
  ]);
  expect(it.server.names()).toEqual(["activity_log", "people", "people_current"]);
  expect(it.server.resource("activity_log").timePartitioning).toEqual({ type: "DAY", field: "created_at" });
});

test("activity_log in BigQuery has what was refused as it came", async () => {
  await using it = await openSink({ keepsLog: true });
  const at = it.clock.wall();
  await it.sink.refuse([{ id: "r", body: "{", at, error: "the body is not JSON" }]);
  expect(it.server.rows("activity_log")).toEqual([
    {
      id: "r",
      payload: "{",
      created_at: new Date(at).toISOString(),
      is_error: true,
      error_message: "the body is not JSON",
      state: "rejected",
    },
  ]);
});
