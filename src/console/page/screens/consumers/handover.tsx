import { get } from "../../api.ts";
import { useList } from "../../list.ts";
import { useLive } from "../../live.ts";
import { Code, SecretOnce } from "../../parts/copy.tsx";
import type { Route } from "../../records/types.ts";
import type { KeyWithSecret } from "./new-key.tsx";

interface Configuration {
  readonly config: {
    readonly admin?: { readonly listen?: unknown };
    readonly server?: { readonly port?: number; readonly tls?: { readonly port?: number | null } | null };
    readonly identity?: { readonly header?: string };
  };
}

/** Shows a new secret once, with a request that tries it out. */
export function Handover({ made, onClose }: { readonly made: KeyWithSecret; readonly onClose: () => void }) {
  const { value } = useLive("config", (signal) => get<Configuration>("config", {}, signal), 0);
  const routes = useList<Route>("routes").items;
  const route = routes.find(({ name, auth }) => auth !== "none" && (made.routes.length === 0 || made.routes.includes(name)));
  const command = `curl -H "${value?.config.identity?.header ?? "X-API-Key"}: ${made.key}" ${baseOf(value?.config)}${route?.path ?? "/"}`;
  return (
    <>
      <SecretOnce secret={made.key} what="key" />
      <p class="fine">Try it:</p>
      <Code text={command} />
      <div class="acts">
        <button type="button" class="primary" onClick={onClose}>
          I have copied it
        </button>
      </div>
    </>
  );
}

/** Gives where callers reach the gateway: where this page came from, unless the admin API has a listener of its own. */
function baseOf(config: Configuration["config"] | undefined): string {
  const { hostname, origin } = location;
  if (config?.admin?.listen === undefined || config.admin.listen === null) return origin;
  const { port = 8080, tls = null } = config.server ?? {};
  return `${tls === null ? "http" : "https"}://${hostname}:${tls?.port ?? port}`;
}
