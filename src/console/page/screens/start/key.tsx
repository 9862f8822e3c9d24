import { useState } from "preact/hooks";
import { get, type Page, Problem, send } from "../../api.ts";
import { useLive } from "../../live.ts";
import { Form, SelectField, TextField } from "../../parts/form.tsx";
import { Panel } from "../../parts/screen.tsx";
import { tierText } from "../../records/limit-text.ts";
import type { Tier } from "../../records/types.ts";

/** Holds a key that was just made. */
export interface MadeKey {
  readonly consumer: string;
  readonly key: string;
}

export interface KeyStepProps {
  /** Who was made before; `null`: nobody. */
  readonly consumer: string | null;
  /** Is told who there is, as soon as they are. */
  readonly onConsumer: (id: string) => void;
  readonly onDone: (made: MadeKey) => void;
}

/** Makes a consumer, where it is not there yet. */
async function makeConsumer(id: string, tier: string): Promise<void> {
  try {
    await send("POST", "consumers", { body: { id, tier } });
  } catch (error) {
    // It is there already: it gets a key more.
    if (!(error instanceof Problem) || error.code !== "conflict") throw error;
  }
}

/** Asks who calls, and makes a key for them. */
export function KeyStep({ consumer, onConsumer, onDone }: KeyStepProps) {
  const tiers = useLive("tiers", (signal) => get<Page<Tier>>("tiers", {}, signal), 0);
  const [id, setId] = useState(consumer ?? "my-first-app");
  const [tier, setTier] = useState("");
  const known = (tiers.value?.items ?? []).filter(({ name }) => name !== "anonymous");
  const chosen = tier || (known.find(({ name }) => name === "free") ?? known[0])?.name || "";
  const isThere = id === consumer;
  const create = async (): Promise<void> => {
    if (!isThere) await makeConsumer(id, chosen);
    onConsumer(id);
    const { value } = await send<{ readonly key: string }>("POST", "keys", { body: { consumer: id } });
    onDone({ consumer: id, key: value.key });
  };
  return (
    <Panel title="3. Who calls?">
      <p class="fine">A consumer is an app, a customer or a colleague. It has keys, and the limits of its tier.</p>
      <Form submit={isThere ? "Make another key" : "Make a key"} needs="admin" onSubmit={create}>
        <TextField
          name="id"
          label="Consumer"
          value={id}
          onValue={setId}
          required
          {...(isThere ? { hint: "This consumer is there. A key is shown once: make another one to go on." } : {})}
        />
        {!isThere && (
          <SelectField
            name="tier"
            label="Tier"
            value={chosen}
            onValue={setTier}
            options={known.map((each) => [each.name, `${each.name}: ${tierText(each)}`] as const)}
            required
          />
        )}
      </Form>
    </Panel>
  );
}
