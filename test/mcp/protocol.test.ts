import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { decodedName, headersFault, type McpHeaders } from "../../src/mcp/headers.ts";
import { idOf, isFault, META, type Messages, MODERN_VERSION, parseMessages, RPC } from "../../src/mcp/protocol.ts";

const read = (message: unknown): Messages => {
  const messages = parseMessages(JSON.stringify(message));
  if (isFault(messages)) throw new Error(messages.error.message);
  return messages;
};
const codeOf = (text: string): number | null => {
  const messages = parseMessages(text);
  return isFault(messages) ? messages.error.code : null;
};

const NONE: McpHeaders = { version: null, method: null, name: null };
const MODERN: McpHeaders = { version: MODERN_VERSION, method: "tools/call", name: "search" };
const modern = (method: string, params: object = {}, version = MODERN_VERSION) => ({
  jsonrpc: "2.0",
  id: 1,
  method,
  params: { ...params, _meta: { [META.version]: version, [META.clientCapabilities]: {} } },
});
const legacy = (method: string, params: object = {}) => ({ jsonrpc: "2.0", id: 1, method, params });

describe("a message", () => {
  test("is a request, a notification or an answer", () => {
    expect(read(legacy("tools/list")).messages).toEqual([{ kind: "request", id: 1, method: "tools/list", params: {} }]);
    expect(read({ jsonrpc: "2.0", method: "notifications/initialized" }).messages).toEqual([
      { kind: "notification", method: "notifications/initialized", params: {} },
    ]);
    expect(read({ jsonrpc: "2.0", id: "a", result: {} }).messages).toEqual([{ kind: "response", id: "a" }]);
    expect(read([legacy("ping"), legacy("tools/list")])).toMatchObject({ isBatch: true, messages: [{ method: "ping" }, {}] });
  });

  test("that is none is refused with the code that JSON-RPC has for it, and with its id where it has one", () => {
    expect(codeOf("{")).toBe(RPC.parseError);
    expect(parseMessages(new Uint8Array([0x22, 0xff, 0x22]))).toMatchObject({ error: { code: RPC.parseError } });
    for (const text of ["1", "[]", "[1]", "{}", '{"jsonrpc":"1.0","id":1,"method":"a"}', '{"jsonrpc":"2.0","id":null,"method":"a"}'])
      expect(codeOf(text)).toBe(RPC.invalidRequest);
    expect(codeOf(JSON.stringify(Array(101).fill(legacy("ping"))))).toBe(RPC.invalidRequest);
    expect(parseMessages('{"jsonrpc":"2.0","id":7,"method":"a","params":[]}')).toMatchObject({ id: 7, error: { code: RPC.invalidParams } });
    expect(codeOf('{"jsonrpc":"2.0","id":1,"method":"tools/call","result":{}}')).toBe(RPC.invalidRequest);
  });

  test("keeps an id as it was sent, also one that JavaScript would round", () => {
    const ids = ["9007199254740993", "-123456789012345678901234567890", "1.50", "1e400", "7", '"9007199254740993"'];
    const written = (message: unknown): string => JSON.stringify(message).slice('{"id":'.length, -1);
    const idsOf = (text: string): string[] => {
      const found = parseMessages(text);
      return isFault(found) ? [written({ id: found.id })] : found.messages.map((each) => written({ id: idOf(each) }));
    };
    const call = (id: string, method = "ping") => `{"jsonrpc":"2.0", "params":{"id":5},"id" : ${id} ,"method":"${method}"}`;
    for (const id of ids) {
      expect(idsOf(call(id))).toEqual([id]);
      expect(idsOf(call(id).replace('{"id":5}', "[]"))).toEqual([id]);
    }
    expect(idsOf(` [ ${ids.map((id) => call(id)).join(" , ")} ]`)).toEqual(ids);
  });

  test("in which servers may read another name than Sluice is refused", () => {
    for (const text of [
      '{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/call"}',
      '{"jsonrpc":"2.0","id":1,"method":"ping","Method":"tools/call"}',
      '{"jsonrpc":"2.0","id":1,"method":"ping","m\\u0045thod":"tools/call"}',
      '{"jsonrpc":"2.0","id":1,"result":{},"METHOD":"tools/call"}',
      '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","NAME":"b"}}',
      '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","arguments":{"x":"}\\""},"name":"b"}}',
      '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a"},"param\u017f":{"name":"b"}}',
      '[{"jsonrpc":"2.0","id":1,"method":"ping"} , {"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","name":"b"}}]',
      `{"jsonrpc":"2.0","id":1,"method":"ping","params":{"_meta":{"${META.version}":"2026-07-28","${META.version}":"2025-11-25"}}}`,
    ])
      expect([text, codeOf(text)]).toEqual([text, RPC.invalidRequest]);
  });

  test("may hold whatever a tool takes, under any names", () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.dictionary(fc.string(), fc.jsonValue()), (argument, more) => {
        const params = { name: "search", arguments: { ...more, name: argument, NAME: argument, method: [argument, "name"] } };
        expect(read(legacy("tools/call", params)).messages[0]).toMatchObject({ method: "tools/call" });
        expect(codeOf(`[${JSON.stringify(legacy("tools/call", params), null, 2)}]`)).toBeNull();
      }),
    );
  });
});

describe("the headers of a message", () => {
  const codeFor = (message: unknown, headers: Partial<McpHeaders>, base = NONE): number | null =>
    headersFault(read(message), { ...base, ...headers })?.error.code ?? null;
  const call = modern("tools/call", { name: "search" });

  test("are required of the version without sessions, and must say what the body says", () => {
    expect(codeFor(call, {}, MODERN)).toBeNull();
    expect(codeFor(modern("tools/list"), { name: null, method: "tools/list" }, MODERN)).toBeNull();
    for (const wrong of [
      { version: null },
      { version: "2025-11-25" },
      { method: null },
      { method: "tools/list" },
      { name: null },
      { name: "Search" },
      { name: "search, delete" },
    ])
      expect([wrong, codeFor(call, wrong, MODERN)]).toEqual([wrong, RPC.headerMismatch]);
    expect(codeFor(modern("resources/read", { uri: "file:///a" }), { method: "resources/read", name: "file:///b" }, MODERN)).toBe(
      RPC.headerMismatch,
    );
  });

  test("of older versions are optional, and must be right where they are there", () => {
    expect(codeFor(legacy("tools/call", { name: "search" }), {})).toBeNull();
    expect(codeFor(legacy("tools/call", { name: "search" }), { version: "2025-06-18" })).toBeNull();
    expect(codeFor(legacy("tools/call", { name: "delete" }), { name: "search" })).toBe(RPC.headerMismatch);
    expect(codeFor(legacy("tools/call", { name: "delete" }), { method: "ping" })).toBe(RPC.headerMismatch);
    expect(codeFor([legacy("tools/call", { name: "delete" })], { method: "ping" })).toBe(RPC.headerMismatch);
  });

  test("say a version that is known, else the known ones are told", () => {
    const fault = headersFault(read(modern("tools/list", {}, "2030-01-01")), { ...NONE, version: "2030-01-01" });
    expect(fault).toMatchObject({ id: 1, error: { code: RPC.unsupportedVersion, data: { requested: "2030-01-01" } } });
    expect(fault?.error.data).toMatchObject({
      supported: [MODERN_VERSION, "2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05", "2024-10-07"],
    });
    expect(codeFor(legacy("ping"), { version: "1999-01-01" })).toBe(RPC.unsupportedVersion);
    expect(codeFor(legacy("ping"), { version: MODERN_VERSION })).toBe(RPC.invalidParams);
    expect(codeFor(legacy("initialize"), { version: MODERN_VERSION })).toBe(RPC.headerMismatch);
    expect(codeFor([call], MODERN)).toBe(RPC.invalidRequest);
  });

  test("carry names that no field can hold in Base64", () => {
    const name = "Größe, 世界";
    const field = `=?base64?${Buffer.from(name).toString("base64")}?=`;
    expect(decodedName(field)).toBe(name);
    expect(decodedName("=?base64?/w==?=")).toBeNull();
    expect(decodedName("=?base64?***?=")).toBeNull();
    expect(codeFor(modern("tools/call", { name }), { name: field }, MODERN)).toBeNull();
  });
});
