import { describe, expect, test } from "bun:test";
import { type Answer, GONE } from "../../src/exchange/answer.ts";
import { finish } from "../../src/exchange/finish.ts";
import { type Gate, inTurn, type Line, walk } from "../../src/exchange/line.ts";
import { problem } from "../../src/http/problem.ts";
import type { Reply } from "../../src/http/server.ts";
import { FakeClock } from "../support/clock.ts";
import { exchangeOn, routeOf } from "../support/exchange.ts";

const HELLO: Answer = { kind: "reply", reply: { status: 200, reason: "OK", head: "", body: null, length: 0 } };
const REFUSAL = problem("forbidden", "Not from there.");

/** A request, and what was written to its caller. */
function arrived() {
  const replies: Reply[] = [];
  const exchange = exchangeOn(routeOf(), new FakeClock(0));
  exchange.incoming.reply = (reply) => void replies.push(reply);
  return { exchange, replies };
}

/** A line of these gates, and the steps that were taken on it. */
function lineOf(...gates: readonly Gate[]) {
  const steps: string[] = [];
  const line: Line = {
    gates: gates.map(
      (gate, i): Gate =>
        (exchange) => {
          steps.push(`gate ${i + 1}`);
          return gate(exchange);
        },
    ),
    answer: () => {
      steps.push("answer");
      return HELLO;
    },
    ended: () => {},
  };
  return { line, steps };
}

const letsOn: Gate = () => null;
const refuses: Gate = () => REFUSAL;
const letsOnLater: Gate = () => Promise.resolve(null);

describe("a request on its line", () => {
  test("is answered when all gates have let it on, at once where none waits", () => {
    const { line, steps } = lineOf(letsOn, letsOn);
    expect(walk(arrived().exchange, line)).toBe(HELLO);
    expect(steps).toEqual(["gate 1", "gate 2", "answer"]);
  });

  test("stops at the first gate that refuses it", () => {
    const { line, steps } = lineOf(letsOn, refuses, refuses);
    expect(walk(arrived().exchange, line)).toEqual({ kind: "problem", problem: REFUSAL });
    expect(steps).toEqual(["gate 1", "gate 2"]);
  });

  test("waits for a gate that gives a promise, and goes on behind it", async () => {
    const { line, steps } = lineOf(letsOn, letsOnLater, letsOn, letsOnLater);
    const answer = walk(arrived().exchange, line);
    expect(answer).toBeInstanceOf(Promise);
    expect(steps).toEqual(["gate 1", "gate 2"]);
    expect(await answer).toBe(HELLO);
    expect(steps).toEqual(["gate 1", "gate 2", "gate 3", "gate 4", "answer"]);
  });

  test("stops at a refusal that was waited for", async () => {
    const { line, steps } = lineOf(() => Promise.resolve(REFUSAL), letsOn);
    expect(await walk(arrived().exchange, line)).toEqual({ kind: "problem", problem: REFUSAL });
    expect(steps).toEqual(["gate 1"]);
  });

  test("gets the answer that a gate gives in the place of a refusal", async () => {
    const { line, steps } = lineOf(() => HELLO, letsOn);
    expect(walk(arrived().exchange, line)).toBe(HELLO);
    expect(await walk(arrived().exchange, lineOf(() => Promise.resolve(HELLO)).line)).toBe(HELLO);
    expect(steps).toEqual(["gate 1"]);
  });

  test("goes no further when its caller has left while a gate waited, whatever the gate says", async () => {
    for (const verdict of [null, REFUSAL]) {
      const { exchange } = arrived();
      const { line, steps } = lineOf(() => Promise.resolve(verdict), letsOn);
      const answer = walk(exchange, line);
      exchange.leave();
      expect(await answer).toBe(GONE);
      expect(steps).toEqual(["gate 1"]);
    }
  });

  test("passes on what a gate throws, or rejects with", async () => {
    const throws = lineOf(() => {
      throw new Error("thrown");
    });
    expect(() => walk(arrived().exchange, throws.line)).toThrow("thrown");
    const rejects = lineOf(() => Promise.reject(new Error("rejected")));
    await expect(Promise.resolve(walk(arrived().exchange, rejects.line))).rejects.toThrow("rejected");
    expect([...throws.steps, ...rejects.steps]).toEqual(["gate 1", "gate 1"]);
  });
});

describe("an answer", () => {
  test("is written once, with its status and the head of every answer", () => {
    const { exchange, replies } = arrived();
    finish(exchange, HELLO, 2.5);
    expect(exchange.status).toBe(200);
    expect(replies).toHaveLength(1);
    expect(replies[0]?.head).toBe(`X-Request-ID: ${exchange.id}\r\nX-Process-Time: 2.5\r\n`);
  });

  test("that refuses is written as its problem, and noted", () => {
    const { exchange, replies } = arrived();
    finish(exchange, { kind: "problem", problem: REFUSAL }, 0);
    expect([exchange.status, exchange.notes.refusal, replies.map(({ status }) => status)]).toEqual([403, REFUSAL, [403]]);
  });

  test("to a caller who has left is not written, and has no status", () => {
    const { exchange, replies } = arrived();
    finish(exchange, GONE, 0);
    expect([exchange.status, exchange.notes.refusal, replies]).toEqual([0, null, []]);
  });
});

describe("gates that are asked as one", () => {
  test("are asked in order, up to the first that stops the request, whether one waits or not", async () => {
    for (const [gates, asked, stop] of [
      [[letsOn, letsOn], 2, null],
      [[letsOn, refuses, letsOn], 2, REFUSAL],
      [[letsOnLater, letsOn, letsOnLater, refuses, letsOn], 4, REFUSAL],
      [[letsOn, letsOnLater], 2, null],
      [[], 0, null],
    ] as const) {
      const { line, steps } = lineOf(...gates);
      expect(await inTurn(line.gates)(arrived().exchange)).toEqual(stop);
      expect(steps).toHaveLength(asked);
    }
  });

  test("answer at once where none waits", () => {
    expect(inTurn([letsOn, refuses])(arrived().exchange)).toBe(REFUSAL);
    expect(inTurn([letsOn])(arrived().exchange)).toBeNull();
  });

  test("are not asked on in the name of a caller who has left", async () => {
    const { line, steps } = lineOf(letsOnLater, refuses);
    const { exchange } = arrived();
    const stop = inTurn(line.gates)(exchange);
    exchange.end();
    expect([await stop, steps]).toEqual([null, ["gate 1"]]);
  });
});
