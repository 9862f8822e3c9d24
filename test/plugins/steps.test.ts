import { describe, expect, test } from "bun:test";
import type { Plugin } from "sluice";
import type { Answerer } from "../../src/exchange/line.ts";
import { walk } from "../../src/exchange/line.ts";
import { NamedCallers } from "../../src/plugins/callers.ts";
import { Calls } from "../../src/plugins/calls.ts";
import { HookCounts } from "../../src/plugins/counts.ts";
import { HOOKS } from "../../src/plugins/hook.ts";
import { Instance } from "../../src/plugins/instance.ts";
import { stepsOf } from "../../src/plugins/steps.ts";
import { FakeClock } from "../support/clock.ts";
import { exchangeOn, responseOf, routeOf } from "../support/exchange.ts";

const clock = new FakeClock(0);
const deps = {
  calls: new Calls({ clock, emit: () => {} }),
  callers: new NamedCallers({
    registry: { consumer: () => undefined, anonymousTierName: "anonymous", policiesFor: () => [] },
    hasTier: () => true,
  }),
  metadataOf: () => null,
};
const answer: Answerer = () => ({ kind: "forwarded", response: responseOf(200, { "X-One": "1" }, "body") });
const ended = (): void => {};

function use(plugin: Plugin, at = 0) {
  const counts = new Map(HOOKS.map((hook) => [hook, new HookCounts()]));
  const instance = new Instance({ module: { plugin, name: "p", kept: "p" }, sources: new Map(), log: null, counts });
  return { instance, at, timeout: 1000, skips: false, maxBody: 1000 };
}

describe("a route's line", () => {
  test("has nothing of plug-ins where there is none", () => {
    const steps = stepsOf([], deps);
    expect([steps.first, steps.request, steps.identify, steps.admit]).toEqual([[], [], null, []]);
    expect(steps.around(answer)).toBe(answer);
    expect(steps.ending(ended)).toBe(ended);
  });

  test("has no step for a hook that is not there", () => {
    const onlyEnded = stepsOf([use({ ended: () => {} })], deps);
    expect([onlyEnded.request, onlyEnded.identify, onlyEnded.admit]).toEqual([[], null, []]);
    expect(onlyEnded.around(answer)).toBe(answer);
    const some = stepsOf([use({ request: () => {} }), use({ admit: () => {}, request: () => {} }, 1)], deps);
    expect([some.request.length, some.admit.length, some.identify]).toEqual([2, 1, null]);
  });

  test("waits for no hook that gives no promise", () => {
    const steps = stepsOf([use({ request: () => {}, admit: () => {}, response: () => {}, ended: () => {} })], deps);
    const exchange = exchangeOn(routeOf(), clock);
    const line = { gates: [...steps.first, ...steps.request, ...steps.admit], answer: steps.around(answer), ended: steps.ending(ended) };
    const given = walk(exchange, line);
    expect(given).not.toBeInstanceOf(Promise);
    // What no hook has touched goes on as it came.
    expect(given).toMatchObject({ kind: "forwarded", response: { status: 200 } });
  });

  test("gives a caller whose answer a plug-in has only looked at the very answer that there was", () => {
    const looks: Plugin = {
      response: (response) => {
        if (response.headers.get("x-one") !== "1" || !response.ok) throw new Error("not what it was");
      },
    };
    const steps = stepsOf([use(looks)], deps);
    const exchange = exchangeOn(routeOf(), clock);
    const same = { kind: "forwarded", response: responseOf(200, { "X-One": "1" }, "body") } as const;
    expect(walk(exchange, { gates: steps.first, answer: steps.around(() => same), ended })).toBe(same);
  });
});
