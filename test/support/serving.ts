import { loadConfig } from "../../src/config/load.ts";
import type { ClientAuthorities } from "../../src/edge/certificates.ts";
import { listen } from "../../src/gateway/listeners.ts";
import { openGateway } from "../../src/gateway/open.ts";
import { openScope } from "../../src/gateway/scope.ts";
import { FakeClock } from "./clock.ts";

/** The whole gateway in this process, on a free port, with a clock that stands still until it is moved. */
export function serving(config: object, clock = new FakeClock(Date.now()), databasePath = ":memory:") {
  const loaded = loadConfig(JSON.stringify({ server: { host: "127.0.0.1", drainTimeout: "0s" }, ...config }), {});
  if ("faults" in loaded) throw new Error(JSON.stringify(loaded.faults));
  const faults: unknown[] = [];
  const onFault = (error: unknown) => void faults.push(error);
  const options = { config: loaded.config, file: "config.json", databasePath, adminToken: "an-admin-token-0123456789" };
  const scope = openScope(onFault);
  const gateway = openGateway(scope, { ...options, clock, log: null, onFault });
  const listeners = listen(scope, { config: loaded.config, host: "127.0.0.1", port: 0, gateway, onFault });
  return {
    url: `http://127.0.0.1:${listeners.port}`,
    port: listeners.port,
    adminPort: listeners.adminPort,
    tlsPort: listeners.tlsPort,
    clock,
    faults,
    admin: (method: string, path: string, body?: object) =>
      fetch(`http://127.0.0.1:${listeners.port}${path}`, {
        method,
        headers: {
          authorization: "Bearer an-admin-token-0123456789",
          ...(body === undefined ? {} : { "content-type": "application/json" }),
        },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      }),
    useAuthorities: (clients: ClientAuthorities | null) => gateway.useAuthorities(clients),
    firstRunLink: () => gateway.firstRunLink(),
    /** As at the begin of a stop: it is not ready from here on. */
    drain: () => gateway.drain(),
    stop: () => scope.close(),
  };
}
