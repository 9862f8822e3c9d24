import { useState } from "preact/hooks";
import { part, send } from "../../api.ts";
import { Act } from "../../parts/act.tsx";
import { Dialog } from "../../parts/dialog.tsx";
import { CheckField, Form } from "../../parts/form.tsx";
import { Secret } from "./secret.tsx";

export interface RotateProps {
  readonly name: string;
  readonly onChanged: () => void;
}

/** Gives a webhook another secret, and shows it once. */
export function Rotate({ name, onChanged }: RotateProps) {
  const [isOpen, setOpen] = useState(false);
  const [keepOld, setKeepOld] = useState(true);
  const [secret, setSecret] = useState<string | null>(null);
  const close = (): void => {
    setOpen(false);
    setSecret(null);
    setKeepOld(true);
  };
  const rotate = async (): Promise<void> => {
    setSecret((await send<{ secret: string }>("POST", `webhooks/${part(name)}/rotate`, { body: { keepOld } })).value.secret);
    onChanged();
  };
  return (
    <>
      <Act label="Change the secret" needs="admin" act={async () => setOpen(true)} />
      {isOpen && (
        <Dialog title={`Change the secret of ${name}`} onClose={close}>
          {secret === null ? (
            <Form submit="Make a new secret" needs="admin" onSubmit={rotate} onCancel={close}>
              <CheckField
                name="keepOld"
                label="Let the secret before go on signing"
                hint="Each event is signed by both until the next change, so that the receiver can be changed meanwhile. Turn this off where the secret has leaked."
                value={keepOld}
                onValue={setKeepOld}
              />
            </Form>
          ) : (
            <Secret secret={secret} />
          )}
        </Dialog>
      )}
    </>
  );
}
