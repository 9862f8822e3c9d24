import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { linesOf } from "../../src/http/fields.ts";
import { HeadFault, HeadReader, parseRequestHead, parseResponseHead, type RequestHead } from "../../src/http/head.ts";

const request = (...lines: string[]) => parseRequestHead(["GET /a HTTP/1.1", "Host: example.com", ...lines].join("\r\n"));

function accepted(head: RequestHead | HeadFault): RequestHead {
  if (head instanceof HeadFault) throw new Error(`refused: ${head.detail}`);
  return head;
}

describe("a request's head", () => {
  test("keeps the target, the names' letter case and the order of fields as they were sent", () => {
    const head = accepted(
      parseRequestHead("POST /a%20b?x='1' HTTP/1.1\r\nHost: h:8080\r\nX-One: 1\r\nx-ONE:2\r\nEmpty:\r\nContent-Length: 3"),
    );
    expect(head.target).toBe("/a%20b?x='1'");
    expect(head.fields.names).toEqual(["Host", "X-One", "x-ONE", "Empty", "Content-Length"]);
    expect(head.fields.joined("x-one")).toBe("1, 2");
    expect(head.fields.get("empty")).toBe("");
    expect(head.framing).toBe("length");
    expect(head.contentLength).toBe(3);
  });

  test("says whether the connection may be used again", () => {
    expect(accepted(request()).keepAlive).toBe(true);
    expect(accepted(request("Connection: close")).keepAlive).toBe(false);
    expect(accepted(request("Connection: X-Thing, Close")).keepAlive).toBe(false);
    expect(accepted(parseRequestHead("GET / HTTP/1.0")).keepAlive).toBe(false);
    expect(accepted(parseRequestHead("GET / HTTP/1.0\r\nConnection: keep-alive")).keepAlive).toBe(true);
  });

  test("asks for an upgrade only when Connection names it", () => {
    expect(accepted(request("Upgrade: WebSocket", "Connection: keep-alive, Upgrade")).upgrade).toBe("websocket");
    expect(accepted(request("Upgrade: websocket")).upgrade).toBe("");
  });

  test.each([
    [400, "no host", "GET / HTTP/1.1"],
    [400, "two hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: b"],
    [400, "two equal hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: a"],
    [400, "a host with a space", "GET / HTTP/1.1\r\nHost: a b"],
    [400, "a host with a path", "GET / HTTP/1.1\r\nHost: a/b"],
    [400, "a host with user information", "GET / HTTP/1.1\r\nHost: u@a"],
    [400, "a list of hosts", "GET / HTTP/1.1\r\nHost: a, b"],
    [400, "a folded line", "GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n 2"],
    [400, "a space before the colon", "GET / HTTP/1.1\r\nHost: a\r\nX : 1"],
    [400, "no colon", "GET / HTTP/1.1\r\nHost: a\r\nX"],
    [400, "an empty name", "GET / HTTP/1.1\r\nHost: a\r\n: 1"],
    [400, "a bare LF", "GET / HTTP/1.1\r\nHost: a\nX: 1"],
    [400, "a bare CR", "GET / HTTP/1.1\r\nHost: a\r\nX: 1\rY: 2"],
    [400, "a CR at the end", "GET / HTTP/1.1\r\nHost: a\r\nX: 1\r"],
    [400, "a NUL", "GET / HTTP/1.1\r\nHost: a\r\nX: \0"],
    [400, "a length and chunks", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked"],
    [400, "two lengths", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4"],
    [400, "a signed length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +3"],
    [400, "a list of lengths", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3, 3"],
    [400, "an absurd length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999"],
    [400, "chunks in HTTP/1.0", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked"],
    [501, "an unknown transfer coding", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked"],
    [501, "chunked twice", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked"],
    [400, "two spaces in the request line", "GET  / HTTP/1.1\r\nHost: a"],
    [400, "no version", "GET /\r\nHost: a"],
    [400, "a version in lower case", "GET / http/1.1\r\nHost: a"],
    [400, "a method that is no token", "G@T / HTTP/1.1\r\nHost: a"],
    [505, "HTTP/2", "GET / HTTP/2.0\r\nHost: a"],
    [417, "an unknown expectation", "GET / HTTP/1.1\r\nHost: a\r\nExpect: tea"],
  ])("is refused with %i for %s", (status, _what, text) => {
    const head = parseRequestHead(text);
    expect(head).toBeInstanceOf(HeadFault);
    expect<number>((head as HeadFault).status).toBe(status);
  });

  test("never makes the parser throw, whatever it holds", () => {
    const line = fc.oneof(
      fc.string(),
      fc.constantFrom("Host: a", "Content-Length: 3", "Transfer-Encoding: chunked", "X: y", "", " ", ":", "\r", "\n", "\0"),
    );
    fc.assert(
      fc.property(fc.array(line, { maxLength: 6 }), fc.constantFrom("GET / HTTP/1.1", "", "GET", "X Y Z"), (lines, first) => {
        const head = parseRequestHead([first, ...lines].join("\r\n"));
        if (!(head instanceof HeadFault)) for (const value of head.fields.values) expect(value).not.toMatch(/[\r\n\0]/);
      }),
    );
  });
});

describe("heads that follow each other", () => {
  const told = (head: ReturnType<HeadReader["request"]> | ReturnType<HeadReader["response"]>) =>
    head instanceof HeadFault
      ? head
      : { ...head, fields: [head.fields.names, head.fields.lower, head.fields.values, linesOf(head.fields)] };
  const line = fc.constantFrom(
    ...[
      "Host: a",
      "Host: b:80",
      "Content-Length: 3",
      "content-length:4",
      "Transfer-Encoding: chunked",
      "Connection: close",
      "X:  y ",
      "X:",
    ],
    ...["Expect: 100-continue", "no colon", "X: \0", "Upgrade: websocket", ""],
  );
  const first = fc.constantFrom(
    ...[
      "GET / HTTP/1.1",
      "POST /b?c HTTP/1.1",
      "GET / HTTP/1.0",
      "GET http://c/ HTTP/1.1",
      "GET / HTTP/2.0",
      "GET /\0 HTTP/1.1",
      "HTTP/1.1 200 OK",
    ],
    ...["HTTP/1.1 204 No Content", "HTTP/1.0 200 \x01", `GET /${"a".repeat(600)} HTTP/1.1`],
  );

  test("are read as each would be by itself, also where their lines are those of the one before", () => {
    const message = fc.tuple(first, fc.array(line, { maxLength: 3 }), fc.constantFrom("", "body", "\r\n\r\n"));
    fc.assert(
      fc.property(fc.array(message, { maxLength: 8 }), fc.boolean(), (messages, areRequests) => {
        const reader = new HeadReader();
        for (const [first, lines, body] of messages) {
          const bytes = Buffer.from(`${[first, ...lines].join("\r\n")}\r\n\r\n${body}`, "latin1");
          const end = bytes.indexOf("\r\n\r\n");
          expect(reader.find(bytes)).toBe(end);
          const text = bytes.toString("latin1", 0, end);
          const [read, alone] = areRequests
            ? [reader.request(), parseRequestHead(text)]
            : [reader.response("GET"), parseResponseHead(text, "GET")];
          expect(told(read)).toEqual(told(alone));
        }
      }),
    );
  });

  test("share no change of their fields", () => {
    const reader = new HeadReader();
    const read = (): RequestHead => {
      reader.find(Buffer.from("GET / HTTP/1.1\r\nHost: a\r\nX-One: 1\r\n\r\n"));
      return accepted(reader.request());
    };
    const [before, changed] = [read(), read()];
    changed.fields.set("X-One", "x-one", "2");
    changed.fields.add("X-Two", "x-two", "3");
    expect(linesOf(changed.fields)).toBe("Host: a\r\nX-One: 2\r\nX-Two: 3\r\n");
    changed.fields.remove("x-one");
    for (const { fields } of [before, read()]) expect(linesOf(fields)).toBe("Host: a\r\nX-One: 1\r\n");
  });

  test("are not complete before their empty line has come", () => {
    const whole = Buffer.from("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    const reader = new HeadReader();
    reader.find(whole);
    reader.request();
    for (let size = 0; size < whole.length; size++) expect(reader.find(whole.subarray(0, size))).toBe(-1);
    expect(reader.find(whole)).toBe(whole.length - 4);
  });
});

describe("a response's head", () => {
  const framing = (method: string, ...lines: string[]) => {
    const head = parseResponseHead(lines.join("\r\n"), method);
    return head instanceof HeadFault ? "refused" : head.framing;
  };

  test("says how its body ends", () => {
    expect(framing("GET", "HTTP/1.1 200 OK", "Content-Length: 5")).toBe("length");
    expect(framing("GET", "HTTP/1.1 200 OK", "Transfer-Encoding: chunked")).toBe("chunked");
    expect(framing("GET", "HTTP/1.1 200 OK")).toBe("close");
    expect(framing("GET", "HTTP/1.1 200 OK", "Content-Length: 0")).toBe("none");
    expect(framing("HEAD", "HTTP/1.1 200 OK", "Content-Length: 5")).toBe("none");
    expect(framing("GET", "HTTP/1.1 204 No Content")).toBe("none");
    expect(framing("GET", "HTTP/1.1 304 Not Modified", "Content-Length: 5")).toBe("none");
    expect(framing("GET", "HTTP/1.1 200")).toBe("close");
    expect(framing("GET", "HTTP/1.1 299 A reason of its own")).toBe("close");
  });

  test.each(["HTTP/1.1 abc", "HTTP/1.1 20", "ICY 200 OK", "HTTP/1.1 200OK", ""])("is refused when its status line is %p", (line) => {
    expect(framing("GET", line)).toBe("refused");
  });
});
