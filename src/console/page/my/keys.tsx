import { useState } from "preact/hooks";
import { ago, dateTime } from "../format.ts";
import { Dangerous } from "../parts/act.tsx";
import { Badge } from "../parts/badge.tsx";
import { SecretOnce } from "../parts/copy.tsx";
import { Dialog } from "../parts/dialog.tsx";
import { KeyValue } from "../parts/key-value.tsx";
import { Panel } from "../parts/screen.tsx";
import { ask, type NewSecret, type OwnKey, type OwnKeys } from "./api.ts";
import { NewKey } from "./new-key.tsx";

/** Names a key for its holder. */
export const nameOf = ({ name, start, end, id }: Pick<OwnKey, "name" | "start" | "end" | "id">): string =>
  name ?? (start === "" ? id : `${start}…${end}`);

interface KeysProps {
  readonly keys: OwnKeys;
  readonly onChange: () => Promise<void>;
}

/** Lists the keys, with what may be done to each. */
export function Keys({ keys: { items, allowed }, onChange }: KeysProps) {
  const [secret, setSecret] = useState<NewSecret | null>(null);
  const [from, setFrom] = useState<OwnKey | null>(null);
  const isFull = items.length >= allowed.keys;
  const got = async (made: NewSecret): Promise<void> => {
    setFrom(null);
    setSecret(made);
    await onChange();
  };
  return (
    <Panel title="Keys">
      {items.length === 0 && <p class="empty">You have no key yet. Ask whoever gave you access to the API for one.</p>}
      <ul class="own-keys">
        {items.map((key) => (
          <KeyCard
            key={key.id}
            of={key}
            origin={items.find(({ id }) => id === key.madeFrom) ?? null}
            isFull={isFull}
            onMake={() => setFrom(key)}
            onSecret={got}
            onChange={onChange}
          />
        ))}
      </ul>
      {items.some(({ may }) => may.makeFrom) && (
        <p class="fine">
          {isFull
            ? `You have ${items.length} keys. You can make another while you have fewer than ${allowed.keys}.`
            : "A key that you make can do no more than the one from which you make it. Limits count both as one key."}
        </p>
      )}
      {from !== null && <NewKey from={from} allowed={allowed} onMade={got} onClose={() => setFrom(null)} />}
      {secret !== null && (
        <Dialog title="Your new secret" onClose={() => setSecret(null)}>
          <SecretOnce secret={secret.key} what="key" />
          {secret.previousExpiresAt != null && (
            <p class="prose">The old secret works until {dateTime(secret.previousExpiresAt)}. Put the new one in its place until then.</p>
          )}
        </Dialog>
      )}
    </Panel>
  );
}

interface KeyCardProps {
  readonly of: OwnKey;
  /** The key from which it was made; `null`: an operator made it. */
  readonly origin: OwnKey | null;
  readonly isFull: boolean;
  readonly onMake: () => void;
  readonly onSecret: (secret: NewSecret) => Promise<void>;
  readonly onChange: () => Promise<void>;
}

function KeyCard({ of: key, origin, isFull, onMake, onSecret, onChange }: KeyCardProps) {
  const name = nameOf(key);
  const path = `api/me/keys/${key.id}`;
  return (
    <li class="own-key">
      <div class="own-key-head">
        <h3>{name}</h3>
        {key.status === "active" ? <Badge tone="good">active</Badge> : <Badge tone="warn">disabled</Badge>}
        {key.madeFrom !== null && <Badge>made by you</Badge>}
      </div>
      <KeyValue
        of={[
          // A key without a name is called by this.
          ["Begins and ends with", key.start === "" || key.name === null ? null : <code>{`${key.start}…${key.end}`}</code>],
          ["Made from", origin === null ? null : nameOf(origin)],
          ["Scopes", key.scopes.length === 0 ? "none" : key.scopes.join(", ")],
          ["Routes", key.routes.length === 0 ? "all" : key.routes.join(", ")],
          ["Models", key.models.length === 0 ? null : key.models.join(", ")],
          ["Addresses", key.ips.length === 0 ? "any" : key.ips.join(", ")],
          ["Works until", key.expiresAt === null ? "no end" : `${dateTime(key.expiresAt)} (${ago(key.expiresAt)})`],
          ["Last used", key.lastUsedAt === null ? "never" : ago(key.lastUsedAt)],
          ["Secret before", key.previousExpiresAt === null ? null : `works until ${dateTime(key.previousExpiresAt)}`],
        ]}
      />
      <div class="acts">
        {key.may.rotate && (
          <Dangerous
            label="Rotate"
            about={name}
            // Whoever is let in here has no role: what may be done is in `may`.
            needs="viewer"
            title={`Give ${name} a new secret?`}
            act={async () => onSecret(await ask<NewSecret>("POST", `${path}/rotate`))}
          >
            <p>You see the new secret once. The old one works for one more hour, and there is no other rotation until then.</p>
          </Dangerous>
        )}
        {key.may.makeFrom && !isFull && (
          <button type="button" aria-label={`Make another key: from ${name}`} onClick={onMake}>
            Make another key
          </button>
        )}
        {key.may.revoke && (
          <Dangerous
            label="Revoke"
            about={name}
            needs="viewer"
            title={`Revoke ${name}?`}
            done={`${name} is revoked`}
            act={async () => {
              await ask("DELETE", path);
              await onChange();
            }}
          >
            <p>Whatever uses it is refused from now on. You can't take this back.</p>
          </Dangerous>
        )}
      </div>
    </li>
  );
}
