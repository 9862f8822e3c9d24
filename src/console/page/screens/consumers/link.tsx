import { useState } from "preact/hooks";
import { part, send } from "../../api.ts";
import { dateTime } from "../../format.ts";
import { SecretOnce } from "../../parts/copy.tsx";
import { Dialog } from "../../parts/dialog.tsx";
import { Form, SelectField } from "../../parts/form.tsx";
import { may } from "../../session.ts";

interface ConsumerLink {
  readonly url: string;
  readonly expiresAt: string;
}

const SPANS = [
  ["30m", "30 minutes"],
  ["24h", "24 hours"],
  ["7d", "7 days"],
] as const;

/** Offers to make a link by which a consumer sees and rotates keys without help. */
export function SelfServiceLink({ id }: { readonly id: string }) {
  const [isOpen, setOpen] = useState(false);
  const [ttl, setTtl] = useState("24h");
  const [link, setLink] = useState<ConsumerLink | null>(null);
  if (!may("admin")) return null;
  const close = (): void => {
    setOpen(false);
    setLink(null);
  };
  return (
    <>
      <button type="button" onClick={() => setOpen(true)}>
        Self-service link
      </button>
      {isOpen && (
        <Dialog title={`A link for ${id}`} onClose={close}>
          {link === null ? (
            <Form
              submit="Create link"
              needs="admin"
              onCancel={close}
              onSubmit={async () => setLink((await send<ConsumerLink>("POST", `consumers/${part(id)}/link`, { body: { ttl } })).value)}
            >
              <p>
                Whoever opens it first sees the keys, limits and usage of {id} for 12 hours, and may rotate keys unless the tier's{" "}
                <code>selfService</code> forbids it. They make keys only where it allows that.
              </p>
              <SelectField name="ttl" label="It works for" required value={ttl} options={SPANS} onValue={setTtl} />
            </Form>
          ) : (
            <>
              <SecretOnce secret={link.url} what="link" why={`Hand it over. It works once, until ${dateTime(link.expiresAt)}.`} />
              <div class="acts">
                <button type="button" class="primary" onClick={close}>
                  I have copied it
                </button>
              </div>
            </>
          )}
        </Dialog>
      )}
    </>
  );
}
