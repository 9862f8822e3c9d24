import { useState } from "preact/hooks";
import { part, send } from "../../api.ts";
import { ago, dateTime } from "../../format.ts";
import { useList } from "../../list.ts";
import { Dangerous } from "../../parts/act.tsx";
import { Form, TextField } from "../../parts/form.tsx";
import { Panel } from "../../parts/screen.tsx";
import { Listing } from "../../parts/table.tsx";
import { say } from "../../parts/toast.tsx";
import { filled } from "../../records/patch.ts";
import type { Block } from "../../records/types.ts";
import { may } from "../../session.ts";

/** Lists addresses that are refused, and blocks and unblocks them. */
export function Blocks() {
  const list = useList<Block>("blocks");
  return (
    <>
      <Listing<Block>
        list={list}
        noun="blocked addresses"
        caption="Blocked addresses"
        textOf={({ ip, reason, by }) => `${ip} ${reason} ${by}`}
        keyOf={({ ip }) => ip}
        empty={<p>No address is blocked. The guard blocks addresses that try many wrong keys; you can block one below.</p>}
        columns={[
          { name: "Address", cell: ({ ip }) => <code>{ip}</code>, sort: ({ ip }) => ip },
          { name: "Why", cell: ({ reason }) => reason },
          { name: "By", isWide: true, cell: ({ by }) => by, sort: ({ by }) => by },
          {
            name: "Since",
            cell: ({ createdAt }) => <time title={dateTime(createdAt)}>{ago(createdAt)}</time>,
            sort: ({ createdAt }) => createdAt,
            isWide: true,
          },
          {
            name: "Ends",
            cell: ({ expiresAt }) => (expiresAt === null ? "when you unblock it" : ago(expiresAt)),
            sort: ({ expiresAt }) => expiresAt,
          },
          {
            name: "Act",
            cell: ({ ip }) => (
              <Dangerous
                label="Unblock"
                about={ip}
                needs="operator"
                title={`Unblock ${ip}?`}
                done={`${ip} may send requests again.`}
                act={async () => {
                  await send("DELETE", `blocks/${part(ip)}`);
                  list.reload();
                }}
              >
                <p>Its requests are looked at again, from the next one on.</p>
              </Dangerous>
            ),
          },
        ]}
      />
      {may("operator") && <NewBlock onMade={list.reload} />}
    </>
  );
}

function NewBlock({ onMade }: { readonly onMade: () => void }) {
  const [draft, setDraft] = useState({ ip: "", reason: "", ttl: "" });
  const set = (changed: Partial<typeof draft>): void => setDraft((before) => ({ ...before, ...changed }));
  return (
    <Panel title="Block an address">
      <Form
        submit="Block"
        needs="operator"
        onSubmit={async () => {
          await send("POST", "blocks", { body: filled(draft) });
          say(`${draft.ip} is blocked.`);
          setDraft({ ip: "", reason: "", ttl: "" });
          onMade();
        }}
      >
        <div class="cells">
          <TextField
            name="ip"
            label="Address or block"
            required
            value={draft.ip}
            placeholder="203.0.113.0/24"
            onValue={(ip) => set({ ip })}
          />
          <TextField
            name="ttl"
            label="For how long"
            value={draft.ttl}
            choices={["15m", "1h", "24h", "7d"]}
            placeholder="until you unblock it"
            onValue={(ttl) => set({ ttl })}
          />
          <TextField name="reason" label="Why" value={draft.reason} onValue={(reason) => set({ reason })} />
        </div>
      </Form>
    </Panel>
  );
}
