import { expect, test } from "bun:test";
import type { Answer } from "../../src/exchange/answer.ts";
import { Exchange } from "../../src/exchange/exchange.ts";
import type { Gate } from "../../src/exchange/line.ts";
import { Router } from "../../src/exchange/router.ts";
import { failureOf } from "../../src/gateway/failure.ts";
import { Judge } from "../../src/judge/answerer.ts";
import { CidrSet } from "../../src/values/ip.ts";
import { FakeClock } from "../support/clock.ts";
import { exchangeOn, routeOf } from "../support/exchange.ts";

/** Asks about a request on a route with this gate alone; what was written down of it is its status, and the code of a refusal. */
function asking(gate: Gate) {
  const clock = new FakeClock(0);
  const faults: unknown[] = [];
  const written: (readonly [status: number, code: string | undefined])[] = [];
  const route = routeOf();
  route.line = {
    gates: [gate],
    answer: () => {
      throw new Error("nobody answers a request that is only asked about");
    },
    ended: ({ status, notes }) => void written.push([status, notes.refusal?.code]),
  };
  const headers = { "X-Forwarded-Method": "GET", "X-Forwarded-Uri": "/r/a", "X-Forwarded-For": "192.0.2.9" };
  const { incoming, snapshot } = exchangeOn(route, clock, { path: "/authz", headers });
  const settings = { allowFrom: new CidrSet([]), denyAs: null, router: new Router([route]) };
  const question = new Exchange(incoming, { ...snapshot, judge: settings }, "/authz", "", 0);
  const deps = { clock, emit: () => {}, isDraining: () => false, failureOf, onFault: (error: unknown) => void faults.push(error) };
  const judge = new Judge({ ...deps, note: () => {} }, "/authz");
  /** The answer is out, or the caller gone. */
  const end = (status: number) => {
    question.status = status;
    question.end();
    judge.ended(question, 1);
  };
  return { judge, question, incoming, faults, written, end };
}

const replyOf = (status: number): Answer => ({
  kind: "reply",
  reply: { status, reason: "", head: "Location: /login\r\n", body: null, length: -1 },
});
const refusalOf = (answer: Answer) => (answer.kind === "problem" ? [answer.problem.status, answer.problem.code] : answer.kind);

test("an answer that a gate gives goes to the caller, unless it would pass for a permission", async () => {
  const login = asking(() => replyOf(302));
  expect(await login.judge.answer(login.question)).toEqual(replyOf(302));
  login.end(302);
  expect(login.written).toEqual([[302, undefined]]);
  for (const status of [200, 204, 101]) {
    const page = asking(() => replyOf(status));
    expect(refusalOf(await page.judge.answer(page.question))).toEqual([403, "forbidden"]);
    page.end(403);
    expect(page.written).toEqual([[403, "forbidden"]]);
  }
});

test("a gate that throws or rejects is 503, and is told of", async () => {
  const fault = new Error("broken");
  for (const gate of [
    () => {
      throw fault;
    },
    () => Promise.reject(fault),
  ]) {
    const { judge, question, faults, end, written } = asking(gate);
    const answer = await judge.answer(question);
    expect(refusalOf(answer)).toEqual([503, "internal"]);
    expect(answer).toMatchObject({ problem: { headers: [["Retry-After", "1"]], members: { status: 503, retryAfter: 1 } } });
    end(503);
    expect([faults, written]).toEqual([[fault], [[500, "internal"]]]);
  }
});

test("a caller who leaves while a gate waits is written down once, and nothing more is done in their name", async () => {
  let release = () => {};
  const waiting = new Promise<null>((resolve) => {
    release = () => resolve(null);
  });
  let isReleased = false;
  const { judge, question, incoming, end, written } = asking((exchange) => {
    exchange.onEnded(() => {
      isReleased = true;
    });
    return waiting;
  });
  const answer = judge.answer(question);
  let isCalledOff = false;
  expect(incoming.onAbort).not.toBeNull();
  incoming.isAborted = true;
  end(499);
  isCalledOff = isReleased;
  release();
  expect(await answer).toEqual({ kind: "gone" });
  expect([isCalledOff, written]).toEqual([true, [[499, undefined]]]);
});
