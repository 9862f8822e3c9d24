import { useState } from "preact/hooks";
import { get, type Page, send } from "../../api.ts";
import { useLive } from "../../live.ts";
import { Form, SelectField, TextField } from "../../parts/form.tsx";
import { Panel } from "../../parts/screen.tsx";

/** Holds a key that was just made. */
export interface MadeKey {
  readonly consumer: string;
  readonly key: string;
}

/** Asks who calls, and makes a key for them. */
export function KeyStep({ onDone }: { readonly onDone: (made: MadeKey) => void }) {
  const tiers = useLive("tiers", (signal) => get<Page<{ readonly name: string }>>("tiers", {}, signal), 0);
  const [id, setId] = useState("my-first-app");
  const [tier, setTier] = useState("");
  // The consumer may be there already, when the key was refused: then it is not made again.
  const [made, setMade] = useState<string | null>(null);
  const names = (tiers.value?.items ?? []).map(({ name }) => name).filter((name) => name !== "anonymous");
  const chosen = tier || (names.find((name) => name === "free") ?? names[0] ?? "");
  const create = async (): Promise<void> => {
    if (made !== id) await send("POST", "consumers", { body: { id, tier: chosen } });
    setMade(id);
    const { value } = await send<{ readonly key: string }>("POST", "keys", { body: { consumer: id } });
    onDone({ consumer: id, key: value.key });
  };
  return (
    <Panel title="3. Who calls?">
      <p class="fine">A consumer is an app, a customer or a colleague. It has keys, and the limits of its tier.</p>
      <Form submit="Make a key" needs="admin" onSubmit={create}>
        <TextField name="id" label="Consumer" value={id} onValue={setId} required />
        <SelectField name="tier" label="Tier" value={chosen} onValue={setTier} options={names} required />
      </Form>
    </Panel>
  );
}
