import { ALGORITHMS } from "../algorithms/registry.ts";
import frame from "./limits.lua" with { type: "text" };

/** The script that decides in Redis: the frame with every algorithm's own Lua in its place. */
export const SCRIPT = frame.replace("--[[algorithms]]", () =>
  Object.entries(ALGORITHMS)
    .map(([name, { lua }]) => `['${name}'] = function()\n${lua}end,`)
    .join("\n"),
);

/** The script's operations, with the numbers that it knows them by. */
export const OPERATIONS = { take: 1, peek: 2, charge: 3, refund: 4, hold: 5, extend: 6, lease: 7 } as const;
export type Operation = keyof typeof OPERATIONS;

/** The count of numbers in a reply for each limit: used, remaining, resetIn, retryIn and whether it fits. */
export const NUMBERS = 5;
/** The count of numbers in a lease's reply for each limit: the same, then the amount that was taken, and for how long it may be used. */
export const LEASE_NUMBERS = 7;

/** Gives the count of numbers in a reply for each limit. */
export const widthOf = (operation: Operation): number => (operation === "lease" ? LEASE_NUMBERS : NUMBERS);
