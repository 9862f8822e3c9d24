import type { StatsAnswer } from "../stats/admin.ts";
import { print } from "../telemetry/stdout.ts";
import { type Command, type Input, UsageError } from "./arguments.ts";
import { ask, askAll, NO_SLUICE, PATIENCE, REMOTE_FLAGS, RemoteFault, remotely, text } from "./remote.ts";
import { type ModelCost, type Screen, screenOf } from "./top-screen.ts";

const ENTER = "\x1b[?1049h\x1b[?25l";
const LEAVE = "\x1b[?25h\x1b[?1049l";
const HOME = "\x1b[H";
/** Before the line: after a line that fills the screen the cursor stands on its last character. */
const WIPE_LINE = "\x1b[2K";
const REST_OF_SCREEN = "\x1b[J";

const HOUR = 3_600_000;

/** Gives what asks for the costs of models since the hour began: of a gateway with prices. Others are not asked. */
async function costsAt(input: Input): Promise<() => Promise<ModelCost[]>> {
  const prices = await ask<{ readonly items?: readonly object[] }>(input, "GET", "/admin/prices?limit=1", undefined, PATIENCE).catch(
    (error: unknown) => {
      // An older gateway has none.
      if (error instanceof RemoteFault) return null;
      throw error;
    },
  );
  if ((prices?.items?.length ?? 0) === 0) return () => Promise.resolve([]);
  return async () => {
    const from = new Date(Math.floor(Date.now() / HOUR) * HOUR).toISOString();
    // What the API's document says of these rows.
    const rows = (await askAll(input, `/admin/usage?by=model&from=${from}`)) as unknown as ModelCost[];
    return rows.filter(({ model }) => model !== "");
  };
}

export const top: Command = {
  name: "top",
  usage: "top [--interval SECONDS] [--once]",
  summary:
    "Shows a running gateway's rates, latencies, breakers, pools, busiest consumers and what models cost, again and again. q ends it.",
  flags: [
    ...REMOTE_FLAGS,
    { name: "interval", value: "SECONDS", help: "how often it is asked, 0.2 to 60 (2)" },
    { name: "once", help: "print it once, for scripts and where stdout is no terminal" },
  ],
  positionals: 0,
  run: (input) =>
    remotely(async () => {
      const interval = Number(text(input, "interval") ?? 2);
      if (!(interval >= 0.2 && interval <= 60)) throw new UsageError("--interval must be a number of seconds from 0.2 to 60");
      const look = async (): Promise<StatsAnswer> => {
        const stats = await ask<StatsAnswer>(input, "GET", "/admin/stats", undefined, PATIENCE);
        const lists = [
          stats?.routes,
          stats?.consumers,
          stats?.targets,
          stats?.pools,
          stats?.plugins,
          stats?.workers,
          stats?.latencyBounds,
          stats?.faults,
          stats?.warnings,
        ];
        if (!lists.every(Array.isArray) || stats.cache === undefined || stats.blocks === undefined) throw new RemoteFault(NO_SLUICE);
        return stats;
      };
      let before = await look();
      if (input.flags.json === true) {
        print(`${JSON.stringify(before)}\n`);
        return;
      }
      const costs = await costsAt(input);
      const size = (): Screen => ({
        // The last column stays free: a cursor on it has terminals disagree about what is wiped.
        columns: process.stdout.isTTY ? (process.stdout.columns || 80) - 1 : Number(process.env.COLUMNS) || 80,
        rows: process.stdout.rows || 24,
        hasColour: process.stdout.isTTY === true && !process.env.NO_COLOR,
      });
      if (input.flags.once === true || !process.stdout.isTTY) {
        await Bun.sleep(interval * 1000);
        print(`${screenOf(before, await look(), size(), await costs()).join("\n")}\n`);
        return;
      }
      const stop = Promise.withResolvers<void>();
      const onKey = (bytes: Buffer): void => {
        // q, or Ctrl-C, which in raw mode is a character like any other.
        if (bytes.includes(113) || bytes.includes(3)) stop.resolve();
      };
      let isOver = false;
      void stop.promise.then(() => {
        isOver = true;
      });
      process.on("SIGTERM", () => stop.resolve());
      process.on("SIGINT", () => stop.resolve());
      if (process.stdin.isTTY) process.stdin.setRawMode(true).on("data", onKey).resume();
      print(ENTER);
      try {
        while (!isOver) {
          await Promise.race([Bun.sleep(interval * 1000), stop.promise]);
          if (isOver) break;
          let lines: string[];
          try {
            const looked = await Promise.race([Promise.all([look(), costs()]), stop.promise]);
            if (looked === undefined) break;
            const [now, spent] = looked;
            lines = screenOf(before, now, size(), spent);
            before = now;
          } catch (error) {
            // A gateway that is restarted comes back.
            if (!(error instanceof RemoteFault)) throw error;
            lines = [error.message];
          }
          print(`${HOME}${lines.map((line) => WIPE_LINE + line).join("\r\n")}${REST_OF_SCREEN}`);
        }
      } finally {
        print(LEAVE);
        if (process.stdin.isTTY) process.stdin.setRawMode(false).pause();
      }
    }),
};
