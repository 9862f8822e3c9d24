import { loadConfig } from "../config/load.ts";
import { openGateway } from "../gateway/open.ts";
import { openScope } from "../gateway/scope.ts";
import { systemClock } from "../values/clock.ts";

/** Makes the OpenAPI document: the admin API itself does, over an empty database in memory. */
export async function openApiDocument(): Promise<unknown> {
  const loaded = loadConfig("{}", {});
  if ("faults" in loaded) throw new Error("the empty configuration is not valid");
  const scope = openScope((error) => {
    throw error;
  });
  const gateway = openGateway(scope, {
    config: loaded.config,
    file: null,
    databasePath: ":memory:",
    adminToken: "none",
    clock: systemClock,
    log: null,
    onFault: () => {},
  });
  try {
    const response = await gateway.admin(new Request("http://localhost/swagger/json"), "openapi");
    return await response.json();
  } finally {
    await scope.close();
  }
}
