import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { loadConfig } from "../../src/config/load.ts";
import { listen } from "../../src/gateway/listeners.ts";
import { openGateway } from "../../src/gateway/open.ts";
import { openPlugins } from "../../src/gateway/plugins.ts";
import { openScope } from "../../src/gateway/scope.ts";
import type { Fault } from "../../src/schema/faults.ts";
import { Log } from "../../src/telemetry/log.ts";
import { Output } from "../../src/telemetry/output.ts";
import { systemClock } from "../../src/values/clock.ts";
import { Redactor } from "../../src/values/redact.ts";
import { folder } from "./process.ts";

const ADMIN_TOKEN = "an-admin-token-0123456789";

/** A line of the log. */
export interface Line {
  readonly level: string;
  readonly msg: string;
  readonly [field: string]: unknown;
}

/** Writes files into a folder. */
export function write(home: string, files: Readonly<Record<string, string>>): void {
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(home, name)), { recursive: true });
    writeFileSync(join(home, name), text);
  }
}

/** The whole gateway in this process, with its configuration and its plug-ins in a folder. `files`: their texts by their paths there. */
export async function servingPlugins(files: Readonly<Record<string, string>>, config: object) {
  const home = folder();
  const configure = (next: object): void =>
    write(home.path, { "config.json": JSON.stringify({ server: { host: "127.0.0.1", drainTimeout: "0s" }, ...next }) });
  write(home.path, files);
  configure(config);
  const file = join(home.path, "config.json");
  const text = await Bun.file(file).text();
  const loaded = loadConfig(text, {});
  if ("faults" in loaded) throw new Error(JSON.stringify(loaded.faults));
  const lines: Line[] = [];
  const output = new Output({
    write: (written) => {
      for (const line of written.split("\n")) if (line !== "") lines.push(JSON.parse(line));
    },
    flush: () => 0,
  });
  const log = new Log(
    { output, clock: systemClock, random: Math.random, redactor: new Redactor(), level: "debug" },
    { ...loaded.config.logging, format: "json" },
  );
  const faults: unknown[] = [];
  const scope = openScope((error) => void faults.push(error));
  const options = {
    ...{ config: loaded.config, file, text, env: { PLUGIN_TEST: "from the environment" }, clock: systemClock, log },
    ...{ databasePath: ":memory:", adminToken: ADMIN_TOKEN, onFault: (error: unknown) => void faults.push(error) },
  };
  let plugins: Awaited<ReturnType<typeof openPlugins>>;
  try {
    plugins = await openPlugins(scope, options);
  } catch (error) {
    await scope.close();
    home[Symbol.dispose]();
    throw error;
  }
  const gateway = openGateway(scope, { ...options, plugins });
  const listeners = listen(scope, { config: loaded.config, host: "127.0.0.1", port: 0, gateway, onFault: options.onFault });
  const url = `http://127.0.0.1:${listeners.port}`;
  const ask = (method: string, path: string, body?: object) =>
    fetch(url + path, {
      method,
      headers: { authorization: `Bearer ${ADMIN_TOKEN}`, ...(body === undefined ? {} : { "content-type": "application/json" }) },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
  return {
    ...{ url, port: listeners.port, folder: home.path, faults, gateway, plugins, configure },
    /** Gives the lines of the log up to now. */
    logged: async (): Promise<readonly Line[]> => {
      await output.end(0);
      return lines;
    },
    /** Writes plug-ins' files. */
    write: (changed: Readonly<Record<string, string>>) => write(home.path, changed),
    reload: (): Promise<readonly Fault[]> => gateway.live.reload("admin"),
    admin: ask,
    metric: async (name: string): Promise<string[]> =>
      (await (await ask("GET", "/metrics")).text()).split("\n").filter((line) => line.startsWith(name)),
    stop: async () => {
      await scope.close();
      home[Symbol.dispose]();
    },
    [Symbol.asyncDispose]: async () => {
      await scope.close();
      home[Symbol.dispose]();
    },
  };
}
