import { Plugins } from "../plugins/plugins.ts";
import type { GatewayOptions } from "./ground.ts";
import { ConfigConflict } from "./reload.ts";
import type { Scope } from "./scope.ts";

/**
 * Loads the plug-ins that a configuration names, before the gateway opens: it serves nothing without them. Throws `ConfigConflict` where one
 * of them can't be had. The scope must be the gateway's: plug-ins are stopped after all requests have ended.
 *
 * @example
 * const gateway = openGateway(scope, { ...options, plugins: await openPlugins(scope, options) });
 */
export async function openPlugins(scope: Scope, { config, file, log, env }: GatewayOptions): Promise<Plugins> {
  const plugins = new Plugins({ file, log: log?.logger ?? null, env: env ?? {} });
  scope.defer(() => plugins.close());
  const prepared = await plugins.prepare(config);
  if (prepared.faults.length > 0) {
    prepared.drop();
    throw new ConfigConflict(prepared.faults);
  }
  prepared.enter();
  return plugins;
}
