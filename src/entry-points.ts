/** The entry point of the thread that takes in and applies activities. Here, beside main.ts: in a compiled program all modules have the address of that one. */
export const ACTIVITIES_WORKER = new URL("./activities-worker.ts", import.meta.url).href;
