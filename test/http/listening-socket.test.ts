import { expect, test } from "bun:test";
import { sharesOf } from "../../src/http/listening-socket.ts";

test("a process counts the connections of all its sockets as one number", () => {
  const noted: number[] = [];
  const next = sharesOf({ note: (count) => void noted.push(count), least: 7 });
  const [plain, secure] = [next(), next()];
  plain.note(2);
  secure.note(3);
  plain.note(1);
  secure.note(0);
  expect(noted).toEqual([2, 5, 4, 1]);
  expect([plain.own, secure.own, plain.least]).toEqual([1, 1, 7]);
});
