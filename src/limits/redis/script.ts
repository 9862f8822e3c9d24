import { ALGORITHMS } from "../algorithms/registry.ts";
import frame from "./limits.lua" with { type: "text" };

/** The script that decides in Redis: the frame with every algorithm's own Lua in its place. */
export const SCRIPT = frame.replace("--[[algorithms]]", () =>
  Object.entries(ALGORITHMS)
    .map(([name, { lua }]) => `['${name}'] = function()\n${lua}end,`)
    .join("\n"),
);
