import { describe, expect, test } from "bun:test";
import { amount, amountLeft, money } from "../../src/console/page/format.ts";
import { limitText, tierText } from "../../src/console/page/records/limit-text.ts";

test("dollars have cents, and below one dollar the digits that there are", () => {
  for (const [dollars, text] of [
    [0, "$0.00"],
    [25, "$25.00"],
    [1204.5, "$1,204.50"],
    [999_999.999999999, "$1,000,000.00"],
    [0.5, "$0.50"],
    [0.00123456, "$0.00123"],
    [0.000000001, "$0.000000001"],
    [-0.25, "-$0.25"],
  ] as const)
    expect([dollars, money(dollars)]).toEqual([dollars, text]);
});

test("an amount is written by what it counts", () => {
  expect([amount(12_345, "requests"), amount(12_345, "units"), amount(1.5, "usd")]).toEqual(["12,345", "12,345", "$1.50"]);
});

test("what is left of dollars is rounded down", () => {
  for (const [dollars, text] of [
    [4.999999999, "$4.99"],
    [5, "$5.00"],
    [1.15, "$1.15"],
    [999_999.999999999, "$999,999.99"],
    [0.999999, "$0.999"],
    [0.29, "$0.29"],
    [0.00123956, "$0.00123"],
    [0.000000009, "$0.000000009"],
    [0, "$0.00"],
  ] as const)
    expect([dollars, amountLeft(dollars, "usd")]).toEqual([dollars, text]);
  expect(amountLeft(12_345, "units")).toBe("12,345");
});

describe("a limit in dollars", () => {
  test("is written as such, with its burst", () => {
    expect(limitText({ algorithm: "token-bucket", cost: "usd", limit: "25.00", window: "1d", burst: "30" })).toBe(
      "$25.00 a day, up to $30.00 at once",
    );
    expect(limitText({ algorithm: "fixed-window", cost: "usd", limit: "1", window: "1h", by: ["consumer", "model"] })).toBe(
      "$1.00 an hour by consumer and model",
    );
  });

  test("stands beside those of requests in what a tier allows", () => {
    const limits = [{ algorithm: "fixed-window", limit: 1000, window: "1m" }];
    expect(tierText({ limits, quota: { limit: "500.00", period: "month", cost: "usd" } })).toBe("1,000 a minute; $500.00 a month");
  });
});
