import { expect, test } from "bun:test";
import { callerHead } from "../../src/exchange/headers.ts";

test("a tier's name that came past all rules makes no line of its own", () => {
  // Of a caller nothing else is asked for here.
  const head = callerHead({ via: "key", consumer: { id: "acme", tier: "x\r\nSet-Cookie: a=b" } } as Parameters<typeof callerHead>[0]);
  expect(head).toBe("X-Consumer-ID: acme\r\nX-Consumer-Tier: xSet-Cookie:a=b\r\n");
});
