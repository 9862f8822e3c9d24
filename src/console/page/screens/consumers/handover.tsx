import { useList } from "../../list.ts";
import { Code, SecretOnce } from "../../parts/copy.tsx";
import { useCalling } from "../../records/calling.ts";
import type { Route } from "../../records/types.ts";
import type { KeyWithSecret } from "./new-key.tsx";

/** Shows a new secret once, with a request that tries it out. */
export function Handover({ made, onClose }: { readonly made: KeyWithSecret; readonly onClose: () => void }) {
  const { base, header } = useCalling();
  const routes = useList<Route>("routes").items;
  const route = routes.find(({ name, auth }) => auth !== "none" && (made.routes.length === 0 || made.routes.includes(name)));
  const command = `curl -H "${header}: ${made.key}" ${base}${route?.path ?? "/"}`;
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
