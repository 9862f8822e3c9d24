import { pretty } from "../telemetry/pretty.ts";
import { print } from "../telemetry/stdout.ts";
import { isObject } from "../values/json.ts";
import type { Command, Input } from "./arguments.ts";
import { eventsIn } from "./event-stream.ts";
import { askRaw, NO_SLUICE, queryOf, REMOTE_FLAGS, RemoteFault, remotely } from "./remote.ts";

/** Milliseconds between two tries to reach a gateway that has gone: it doubles, up to the second number. */
const AGAIN_AFTER = 500;
const AGAIN_AFTER_AT_MOST = 10_000;

const FILTERS = ["type", "route", "consumer", "status", "sample"] as const;

export const logs: Command = {
  name: "logs",
  usage: "logs [-f] [--status 4xx] [--route NAME] [--consumer ID]",
  summary:
    "Shows what happens in a running gateway as it happens, a line for each request and each change, until Ctrl-C. 100 requests a second at most: what is left out is counted. Goes on when the gateway is started again.",
  flags: [
    ...REMOTE_FLAGS.map((flag) => (flag.name === "json" ? { ...flag, help: "print each event as a line of JSON" } : flag)),
    { name: "follow", short: "f", help: "follow, which it does in any case" },
    { name: "type", value: "A,B", help: "only events of these types, as in request,limit,breaker" },
    { name: "route", value: "NAME", help: "only requests of this route" },
    { name: "consumer", value: "ID", help: "only requests of this consumer" },
    { name: "status", value: "STATUS", help: "only requests with this status, or of this class, as in 429 or 5xx" },
    { name: "sample", value: "SHARE", help: "the share of requests to show, 0 to 1" },
  ],
  positionals: 0,
  run: (input) => remotely(() => follow(input)),
};

/** Prints events until the process is told to stop. Throws `RemoteFault` where the gateway refuses, or was never reached. */
async function follow(input: Input): Promise<number> {
  const isPretty = input.flags.json !== true;
  const hasColour = process.stdout.isTTY === true && !process.env.NO_COLOR;
  const path = `/admin/events?${queryOf(input, FILTERS)}`;
  let wasHeard = false;
  for (let wait = AGAIN_AFTER; ; wait = Math.min(wait * 2, AGAIN_AFTER_AT_MOST)) {
    try {
      const { body, headers } = await askRaw(input, "GET", path);
      if (body === null || headers.get("content-type") !== "text/event-stream") throw new RemoteFault(NO_SLUICE);
      wasHeard = true;
      wait = AGAIN_AFTER;
      for await (const data of eventsIn(body)) print(isPretty ? lineOf(data, hasColour) : `${data}\n`);
    } catch (error) {
      // Who was heard once comes back after a restart; a typing error in the address never would.
      if (!wasHeard || (error instanceof RemoteFault && error.isRefusal)) throw error;
    }
    process.stderr.write("sluice: the gateway has gone; it is asked again until it is back\n");
    await Bun.sleep(wait);
  }
}

/** Writes an event as the log writes it for people. */
export function lineOf(data: string, hasColour: boolean): string {
  const event: unknown = JSON.parse(data);
  if (!isObject(event)) return `${data}\n`;
  const { type, at, skipped, ...rest } = event;
  const left = typeof skipped === "number" && skipped > 0 ? `… ${skipped} more\n` : "";
  const line =
    type === "request"
      ? { time: at, level: "info", msg: "request", ...rest }
      : { time: at, level: LEVELS[String(type)] ?? "info", msg: type, ...rest };
  return left + pretty(JSON.stringify(line), hasColour);
}

/** How much it matters what these types of events tell. */
const LEVELS: Readonly<Record<string, string>> = {
  limit: "warn",
  breaker: "warn",
  target: "warn",
  health: "warn",
  redis: "warn",
  issuer: "warn",
};
