import { useState } from "preact/hooks";
import { ConflictNotice } from "../../parts/conflict.tsx";
import { Form } from "../../parts/form.tsx";
import { say } from "../../parts/toast.tsx";
import type { Editable } from "../../record.ts";
import { Fields, type Settings } from "./fields.tsx";
import type { Webhook } from "./webhook.ts";

export interface EditProps {
  readonly webhook: Webhook;
  readonly record: Editable<Webhook>;
  readonly onClose: () => void;
}

/** Changes a webhook's settings, unless somebody else has meanwhile. */
export function Edit({ webhook: { url, events, enabled }, record, onClose }: EditProps) {
  const [settings, setSettings] = useState<Settings>({ url, events, enabled });
  const done = (): void => {
    say("The webhook is changed.");
    onClose();
  };
  return (
    <>
      <ConflictNotice
        record={{
          conflict: record.conflict,
          overwrite: async () => {
            await record.overwrite();
            done();
          },
          takeTheirs: () => {
            record.takeTheirs();
            onClose();
          },
        }}
      />
      <Form
        submit="Save"
        needs="admin"
        onCancel={onClose}
        onSubmit={async () => {
          if (await record.save(settings)) done();
        }}
      >
        <Fields value={settings} onValue={setSettings} />
      </Form>
    </>
  );
}
