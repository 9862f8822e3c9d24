import { useState } from "preact/hooks";
import { ago, count, dateTime } from "../../format.ts";
import { Dialog } from "../../parts/dialog.tsx";
import { KeyValue } from "../../parts/key-value.tsx";
import { AnswerShown } from "./answer.tsx";
import type { Delivery } from "./webhook.ts";

const timeOf = (time: string | null): string | null => (time === null ? null : `${dateTime(time)}, ${ago(time)}`);

/** Names the event of a delivery, and shows what was sent and answered to who asks for it. */
export function OneDelivery({ delivery }: { readonly delivery: Delivery }) {
  const [isOpen, setOpen] = useState(false);
  const { id, type, state, tries, createdAt, triedAt, nextAt, body } = delivery;
  return (
    <>
      <button type="button" class="opens" aria-haspopup="dialog" onClick={() => setOpen(true)}>
        {type}
      </button>
      {isOpen && (
        <Dialog title={type} onClose={() => setOpen(false)}>
          <div class="delivery">
            <KeyValue
              of={[
                ["Id", <code>{id}</code>],
                ["State", state],
                ["Happened", timeOf(createdAt)],
                ["Tries", count(tries)],
                ["Tried last", timeOf(triedAt)],
                ["Tried next", timeOf(nextAt)],
              ]}
            />
            <h3>Answer</h3>
            <AnswerShown answered={delivery} />
            <h3>What is sent</h3>
            <pre class="answer">
              <code>{JSON.stringify(body, null, 2)}</code>
            </pre>
          </div>
        </Dialog>
      )}
    </>
  );
}
