import { get } from "../api.ts";
import { useLive } from "../live.ts";

interface Tls {
  readonly port?: number | null;
  readonly acme?: object | null;
}

/** The gateway's configuration, as far as it is read here. */
interface Configuration {
  readonly config: {
    readonly admin?: { readonly listen?: unknown };
    readonly server?: { readonly port?: number; readonly tls?: Tls | null };
    readonly identity?: { readonly header?: string };
  };
}

/** Says how callers reach the gateway. */
export interface Calling {
  /** The address before the path: "https://localhost:8443". */
  readonly base: string;
  /** The name of the header that holds their key. */
  readonly header: string;
}

/** Finds out how callers reach the gateway; until that is known: where this page came from, with the default header. */
export function useCalling(): Calling {
  const { value } = useLive("config", (signal) => get<Configuration>("config", {}, signal), 0);
  return { base: baseOf(value?.config), header: value?.config.identity?.header ?? "X-API-Key" };
}

/** Gives where callers reach the gateway: where this page came from, unless the admin API has a listener of its own. */
function baseOf(config: Configuration["config"] | undefined): string {
  const { hostname, origin } = location;
  if (config?.admin?.listen === undefined || config.admin.listen === null) return origin;
  const { port = 8080, tls = null } = config.server ?? {};
  if (tls === null) return `http://${hostname}:${port}`;
  // Certificates that are ordered have https beside the main port, by itself on 443.
  return `https://${hostname}:${tls.port ?? ((tls.acme ?? null) === null ? port : 443)}`;
}
