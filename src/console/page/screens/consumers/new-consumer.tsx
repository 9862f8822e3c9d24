import { useState } from "preact/hooks";
import { send } from "../../api.ts";
import { useList } from "../../list.ts";
import { Dialog } from "../../parts/dialog.tsx";
import { Form, SelectField, TextField } from "../../parts/form.tsx";
import { say } from "../../parts/toast.tsx";
import { filled } from "../../records/patch.ts";
import type { Tier } from "../../records/types.ts";
import { go, hrefTo } from "../../router.ts";
import { may } from "../../session.ts";

/** Offers to create a consumer. */
export function NewConsumer() {
  const [isOpen, setOpen] = useState(false);
  if (!may("admin")) return null;
  return (
    <>
      <button type="button" class="primary" onClick={() => setOpen(true)}>
        New consumer
      </button>
      {isOpen && (
        <Dialog title="New consumer" onClose={() => setOpen(false)}>
          <ConsumerForm onCancel={() => setOpen(false)} />
        </Dialog>
      )}
    </>
  );
}

function ConsumerForm({ onCancel }: { readonly onCancel: () => void }) {
  const tiers = useList<Tier>("tiers").items.map(({ name }) => name);
  const [draft, setDraft] = useState({ id: "", name: "", tier: "" });
  const set = (changed: Partial<typeof draft>): void => setDraft((before) => ({ ...before, ...changed }));
  const tier = draft.tier === "" ? (tiers.find((name) => name !== "anonymous") ?? tiers[0] ?? "") : draft.tier;
  return (
    <Form
      submit="Create consumer"
      needs="admin"
      onCancel={onCancel}
      onSubmit={async () => {
        await send("POST", "consumers", { body: filled({ ...draft, tier }) });
        say(`${draft.id} is created. Give it a key.`);
        go(hrefTo(["consumers", draft.id]));
      }}
    >
      <TextField
        name="id"
        label="Id"
        required
        value={draft.id}
        placeholder="acme"
        hint="It never changes, and backends get it as X-Consumer-ID."
        onValue={(id) => set({ id })}
      />
      <TextField name="name" label="Name" value={draft.name} placeholder="Acme Inc." onValue={(name) => set({ name })} />
      <SelectField
        name="tier"
        label="Tier"
        required
        value={tier}
        options={tiers}
        hint="Its limits and quotas, unless you give it some of its own."
        onValue={(next) => set({ tier: next })}
      />
    </Form>
  );
}
