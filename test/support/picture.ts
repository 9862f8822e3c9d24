import { writeFileSync } from "node:fs";
import { loadConfig } from "../../src/config/load.ts";
import { listen } from "../../src/gateway/listeners.ts";
import { openGateway } from "../../src/gateway/open.ts";
import { openScope } from "../../src/gateway/scope.ts";
import type { Fault } from "../../src/schema/faults.ts";
import { Chunks } from "../../src/shared/chunks.ts";
import { openRegion } from "../../src/shared/region.ts";
import { Table } from "../../src/shared/table.ts";
import { Log } from "../../src/telemetry/log.ts";
import { Output } from "../../src/telemetry/output.ts";
import { type Clock, systemClock } from "../../src/values/clock.ts";
import { Redactor } from "../../src/values/redact.ts";
import { busOf, type LinkedBus } from "./bus.ts";
import { patience } from "./patience.ts";
import { folder } from "./process.ts";
import { until as untilWithin } from "./until.ts";

export const TOKEN = "an-admin-token-0123456789";

/** A keeper and so many workers as gateways of this process, linked by a bus, on one database and one table. */
export async function together(config: object, count = 2, clock: Clock = systemClock) {
  const home = folder();
  const databasePath = `${home.path}/sluice.db`;
  const region = openRegion(null, { maxSubjects: 10_000 });
  const buses = busOf(count);
  const text = JSON.stringify({ server: { host: "127.0.0.1", drainTimeout: "0s" }, ...config });
  const file = `${home.path}/config.json`;
  writeFileSync(file, text);
  const open = async (bus: LinkedBus, fileFaults: readonly Fault[] = []) => {
    const loaded = loadConfig(text, {});
    if ("faults" in loaded) throw new Error(JSON.stringify(loaded.faults));
    const faults: unknown[] = [];
    const onFault = (error: unknown) => void faults.push(error);
    const ticket = region.becomeWorker();
    if (ticket === null) throw new Error("no id");
    const table = new Table(region.memory, ticket);
    let lines = "";
    const sink = {
      write: (line: string) => {
        lines += line;
      },
      flush: () => 0,
    };
    const log = new Log(
      { output: new Output(sink), clock: systemClock, random: () => 0.5, redactor: new Redactor(), level: undefined },
      loaded.config.logging,
    );
    const scope = openScope(onFault);
    const gateway = openGateway(scope, {
      ...{ config: loaded.config, file, text, fileFaults, databasePath, adminToken: TOKEN, clock, log, onFault, bus, run: "run" },
      table: { table, chunks: new Chunks(region, table) },
    });
    await gateway.ready;
    const { port } = listen(scope, { config: loaded.config, host: "127.0.0.1", port: 0, gateway, onFault });
    /** Asks this process' own admin API: what it shows is this process' picture. */
    const admin = async (method: string, path: string, body?: object) => {
      const headers = { authorization: `Bearer ${TOKEN}`, ...(body === undefined ? {} : { "content-type": "application/json" }) };
      const request = new Request(`http://gateway${path}`, {
        method,
        headers,
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      });
      const response = await gateway.admin(request, "r", "127.0.0.1");
      const answer = await response.text();
      // biome-ignore lint/suspicious/noExplicitAny: a test looks into whatever comes.
      return { status: response.status, json: (answer === "" ? null : JSON.parse(answer)) as any };
    };
    return {
      ...{ bus, gateway, faults, admin, url: `http://127.0.0.1:${port}` },
      lines: () => lines,
      stop: () => scope.close(),
      /** As after `kill -9`: the others hear nothing more of it. */
      die: async () => {
        bus.die();
        region.declareDead(ticket);
        await scope.close();
      },
    };
  };
  const keeper = await open(buses.keeper);
  const workers = await Promise.all(buses.workers.map((bus) => open(bus)));
  const all = [keeper, ...workers];
  return {
    ...{ keeper, workers, all, databasePath, file },
    /** Lets another process come, in the place of one that has died. */
    join: async (role: "keeper" | "worker", self: string, fileFaults: readonly Fault[] = []) => {
      const one = await open(buses.join(role, self), fileFaults);
      all.push(one);
      return one;
    },
    [Symbol.asyncDispose]: async () => {
      for (const each of [...all].reverse()) await each.stop();
      region.close();
      home[Symbol.dispose]();
    },
  };
}

/** Waits until something holds. Throws when it never does. */
export const until = (holds: () => boolean | Promise<boolean>): Promise<void> => untilWithin(holds, patience(10_000));
