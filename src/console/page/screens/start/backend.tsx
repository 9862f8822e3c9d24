import { useState } from "preact/hooks";
import { get, type Page, send } from "../../api.ts";
import { useLive } from "../../live.ts";
import { Form, SelectField, TextField } from "../../parts/form.tsx";
import { Panel } from "../../parts/screen.tsx";

/** Asks where requests are to go. `onDone` is told the upstream's name. */
export function BackendStep({ onDone }: { readonly onDone: (name: string) => void }) {
  const { value } = useLive("upstreams", (signal) => get<Page<{ readonly name: string }>>("upstreams", {}, signal), 0);
  const [existing, setExisting] = useState("");
  const [url, setUrl] = useState("");
  const [name, setName] = useState("backend");
  const names = (value?.items ?? []).map((each) => each.name);
  const create = async (): Promise<void> => {
    if (existing === "") await send("POST", "upstreams", { body: { name, targets: [{ url }] } });
    onDone(existing === "" ? name : existing);
  };
  return (
    <Panel title="1. Where is your backend?">
      <p class="fine">The service that answers, as this machine reaches it.</p>
      <Form submit="Go on" needs="admin" onSubmit={create}>
        {names.length > 0 && (
          <SelectField
            name="existing"
            label="Backend"
            value={existing}
            onValue={setExisting}
            options={[["", "a new one"], ...names]}
            required
          />
        )}
        {existing === "" && (
          <>
            <TextField name="targets[0].url" label="URL" value={url} onValue={setUrl} placeholder="http://localhost:3000" required />
            <TextField name="name" label="Name" value={name} onValue={setName} hint="How routes and metrics call it." required />
          </>
        )}
      </Form>
    </Panel>
  );
}
