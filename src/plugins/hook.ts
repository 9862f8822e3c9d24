import type { Plugin } from "sluice";

/** The hooks that requests call, in the order in which a request meets them. */
export const HOOKS = ["request", "identify", "admit", "response", "ended"] as const satisfies readonly (keyof Plugin)[];
export type Hook = (typeof HOOKS)[number];

/** Everything that a plug-in may have besides its name, each a function. */
export const FUNCTIONS = ["setup", ...HOOKS, "stop"] as const satisfies readonly (keyof Plugin)[];
