import { type Browser, chromium } from "playwright-core";
import { programAt } from "./programs.ts";

/** Starts a browser without a window, which asks nobody but the pages that it is led to. */
export const launch = (): Promise<Browser> =>
  chromium.launch({
    executablePath: programAt("chromium") ?? "",
    args: [
      "--no-sandbox",
      "--disable-gpu",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
    ],
  });
