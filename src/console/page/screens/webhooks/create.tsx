import { useState } from "preact/hooks";
import { send } from "../../api.ts";
import { Form, TextField } from "../../parts/form.tsx";
import { Panel, ScreenFrame } from "../../parts/screen.tsx";
import { go, hrefTo } from "../../router.ts";
import { Fields, type Settings } from "./fields.tsx";
import { Secret } from "./secret.tsx";
import type { Webhook } from "./webhook.ts";

/** Makes a webhook, and shows its secret once. */
export function Create() {
  const [name, setName] = useState("");
  const [settings, setSettings] = useState<Settings>({ url: "", events: ["*"], enabled: true });
  const [made, setMade] = useState<Webhook | null>(null);
  const create = async (): Promise<void> => setMade((await send<Webhook>("POST", "webhooks", { body: { name, ...settings } })).value);
  return (
    <ScreenFrame
      title={made === null ? "New webhook" : `Webhook ${made.name} is created`}
      intro={<a href={hrefTo(["webhooks"])}>← Webhooks</a>}
    >
      {made === null ? (
        <Panel title="Settings">
          <Form submit="Create webhook" needs="admin" onSubmit={create} onCancel={() => go(hrefTo(["webhooks"]))}>
            <TextField
              name="name"
              label="Name"
              required
              hint="Letters, digits and . _ @ : -, beginning with a letter or digit. It can't be changed later."
              value={name}
              onValue={setName}
            />
            <Fields value={settings} onValue={setSettings} />
            <p class="fine">Its secret is made by the gateway, and shown when the webhook is created.</p>
          </Form>
        </Panel>
      ) : (
        <>
          <Secret secret={made.secret} />
          <p>
            <a href={hrefTo(["webhooks", made.name])}>Send it a test</a>
          </p>
        </>
      )}
    </ScreenFrame>
  );
}
