import { useState } from "preact/hooks";
import { send } from "../../api.ts";
import { useList } from "../../list.ts";
import { Dialog } from "../../parts/dialog.tsx";
import { Form, TextField, TimeField } from "../../parts/form.tsx";
import { WordsField } from "../../records/fields.tsx";
import { filled } from "../../records/patch.ts";
import type { Key, Route } from "../../records/types.ts";
import { may } from "../../session.ts";
import { Handover } from "./handover.tsx";

/** A key with its secret, as it is told once. */
export type KeyWithSecret = Key & { readonly key: string };

/** Offers to create a key, and shows its secret once. */
export function NewKey({ consumer, onMade }: { readonly consumer: string; readonly onMade: () => void }) {
  const [isOpen, setOpen] = useState(false);
  const [made, setMade] = useState<KeyWithSecret | null>(null);
  if (!may("admin")) return null;
  const close = (): void => {
    setOpen(false);
    if (made !== null) onMade();
    setMade(null);
  };
  return (
    <>
      <button type="button" class="primary" onClick={() => setOpen(true)}>
        New key
      </button>
      {isOpen && (
        <Dialog title={made === null ? `New key for ${consumer}` : "The new key"} onClose={close}>
          {made === null ? <KeyForm {...{ consumer, onMade: setMade, onCancel: close }} /> : <Handover made={made} onClose={close} />}
        </Dialog>
      )}
    </>
  );
}

interface Draft extends Pick<Key, "scopes" | "routes" | "ips" | "models" | "expiresAt"> {
  readonly name: string;
}

interface KeyFormProps {
  readonly consumer: string;
  readonly onMade: (made: KeyWithSecret) => void;
  readonly onCancel: () => void;
}

function KeyForm({ consumer, onMade, onCancel }: KeyFormProps) {
  const routes = useList<Route>("routes").items.map(({ name }) => name);
  const [draft, setDraft] = useState<Draft>({ name: "", expiresAt: null, scopes: [], routes: [], ips: [], models: [] });
  const set = (changed: Partial<Draft>): void => setDraft((before) => ({ ...before, ...changed }));
  return (
    <Form
      submit="Create key"
      needs="admin"
      onCancel={onCancel}
      onSubmit={async () => onMade((await send<KeyWithSecret>("POST", "keys", { body: filled({ ...draft, consumer }) })).value)}
    >
      <TextField name="name" label="Name" value={draft.name} placeholder="production" onValue={(name) => set({ name })} />
      <WordsField
        name="scopes"
        label="Scopes"
        value={draft.scopes}
        placeholder="users:read, users:write"
        hint="What routes may ask for."
        onValue={(scopes) => set({ scopes })}
      />
      <WordsField
        name="routes"
        label="Only these routes"
        value={draft.routes}
        placeholder={routes.length === 0 ? "all" : `all, or some of ${routes.slice(0, 3).join(", ")}`}
        onValue={(next) => set({ routes: next })}
      />
      <WordsField
        name="ips"
        label="Only from these addresses"
        value={draft.ips}
        placeholder="all, or 203.0.113.0/24"
        onValue={(ips) => set({ ips })}
      />
      <WordsField
        name="models"
        label="Only these models"
        value={draft.models}
        placeholder="all, or gpt-5-mini, claude-*"
        onValue={(models) => set({ models })}
      />
      <TimeField
        name="expiresAt"
        label="Expires"
        value={draft.expiresAt}
        hint="By your clock. Left empty: never."
        onValue={(expiresAt) => set({ expiresAt })}
      />
    </Form>
  );
}
