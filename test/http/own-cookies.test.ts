import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { Fields } from "../../src/http/fields.ts";
import { HeadFault, HeadReader, parseRequestHead } from "../../src/http/head.ts";
import { cookiesIn, dropOwnCookies, mayHoldOwnCookie, setsOwnCookie, withoutOwnCookies } from "../../src/http/own-cookies.ts";

/** A pair of a Cookie field as anybody may send it: nothing of it is ours. */
const other = fc.stringMatching(/^[ -:<-~]{0,12}$/).filter((text) => !/^[ \t]*(?:sluice_session|sluice_my)[ \t]*(?:=|$)/.test(text));
const own = fc.oneof(
  fc.constantFrom("sluice_session=abc", "sluice_my=x", "sluice_session", " sluice_my = y", "sluice_session="),
  fc.stringMatching(/^ ?sluice_(?:session|my)=[a-zA-Z0-9="]{0,8}$/),
);

describe("a Cookie field", () => {
  test("loses Sluice's own cookies, and the others stay byte for byte, in their order", () => {
    fc.assert(
      fc.property(fc.array(fc.oneof({ weight: 3, arbitrary: other }, own), { maxLength: 8 }), (pairs) => {
        const isOwn = (pair: string) => /^[ \t]*(?:sluice_session|sluice_my)[ \t]*(?:=|$)/.test(pair);
        const left = withoutOwnCookies(pairs.join(";"));
        const others = pairs.filter((pair) => !isOwn(pair));
        if (others.length === pairs.length) expect(left).toBe(pairs.join(";"));
        else if (others.join(";").trim() === "") expect(left ?? "").toBe("");
        else {
          const [first = "", ...rest] = others;
          const begins = pairs[0] === first ? first : first.replace(/^[ \t]+/, "");
          expect(left).toBe([begins, ...rest].join(";").replace(/^[ \t]+/, pairs[0] === first ? "$&" : ""));
        }
        expect(cookiesIn(left, "sluice_session")).toEqual([]);
        expect(cookiesIn(left, "sluice_my")).toEqual([]);
        if (pairs.some(isOwn)) expect(mayHoldOwnCookie(pairs.join(";"))).toBe(true);
      }),
    );
  });

  test.each([
    ["sluice_session=a", null],
    [" ;sluice_session=a", null],
    ["a=1; sluice_session=b; c=2", "a=1; c=2"],
    ["sluice_session=b; c=2", "c=2"],
    ["a=1; sluice_my=b", "a=1"],
    ["a=1;sluice_session=b;c=2", "a=1;c=2"],
    ["sluice_session=a; sluice_session=b; x=sluice_session", "x=sluice_session"],
    ["my_sluice_session=1; sluice_sessions=2; Sluice_Session=3", "my_sluice_session=1; sluice_sessions=2; Sluice_Session=3"],
    ["a=b=c==; sluice_my=; d", "a=b=c==; d"],
  ])("%p becomes %p", (value, left) => {
    expect(withoutOwnCookies(value)).toBe(left);
  });

  test("is taken out where nothing is left of it, and no other field is touched", () => {
    const fields = new Fields();
    for (const [name, value] of [
      ["Host", "x"],
      ["Cookie", "sluice_session=a"],
      ["X", "sluice_session=a"],
      ["cookie", "b=1; sluice_my=c"],
    ] as const)
      fields.add(name, name.toLowerCase(), value);
    dropOwnCookies(fields);
    expect(fields.lines(0, fields.names.length)).toBe("Host: x\r\nX: sluice_session=a\r\ncookie: b=1\r\n");
  });

  test("is marked as it is read where it may hold one, and a message with the same lines keeps its own", () => {
    const reader = new HeadReader();
    const read = () => {
      reader.find(Buffer.from("GET / HTTP/1.1\r\nHost: x\r\nCookie: a=1; sluice_session=b\r\n\r\n"));
      const head = reader.request();
      if (head instanceof HeadFault) throw new Error(head.detail);
      return head;
    };
    for (const head of [read(), read()]) {
      expect([head.mayHoldOwnCookie, head.fields.get("cookie")]).toEqual([true, "a=1; sluice_session=b"]);
      dropOwnCookies(head.fields);
      expect(head.fields.get("cookie")).toBe("a=1");
    }
    const plain = parseRequestHead("GET / HTTP/1.1\r\nHost: x\r\nCookie: a=1\r\n");
    expect(plain).toMatchObject({ mayHoldOwnCookie: false });
  });
});

describe("a Set-Cookie field", () => {
  test.each([
    ["sluice_session=a; Path=/", true],
    ["sluice_my=", true],
    ["=sluice_session=a", true],
    [" sluice_session = a", true],
    ["sluice_session", true],
    ["sluice_sessions=a", false],
    ["a=sluice_session=b", false],
    ["Sluice_session=a", false],
  ])("%p sets one of Sluice's own: %p", (value, sets) => {
    expect(setsOwnCookie(value)).toBe(sets);
  });

  test("of a backend is left out where it sets one", () => {
    const text = "HTTP/1.1 200 OK\r\nA: 1\r\nSet-Cookie: sluice_session=x\r\nSet-Cookie: b=2\r\nContent-Length: 0\r\n\r\n";
    const fieldsOf = (reader: HeadReader) => {
      reader.find(Buffer.from(text));
      const head = reader.response("GET");
      if (head instanceof HeadFault) throw new Error(head.detail);
      return head.fields.lines(0, head.fields.names.length);
    };
    const backend = new HeadReader(true);
    for (const lines of [fieldsOf(backend), fieldsOf(backend)]) expect(lines).toBe("A: 1\r\nSet-Cookie: b=2\r\nContent-Length: 0\r\n");
    expect(fieldsOf(new HeadReader())).toContain("sluice_session=x");
  });
});
