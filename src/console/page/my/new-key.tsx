import { useState } from "preact/hooks";
import { Dialog } from "../parts/dialog.tsx";
import { CheckField, Form, TextField, TimeField } from "../parts/form.tsx";
import { WordsField } from "../records/fields.tsx";
import { wordsOf } from "../records/patch.ts";
import { ask, type NewSecret, type OwnKey, type OwnKeys } from "./api.ts";
import { nameOf } from "./keys.tsx";

interface NewKeyProps {
  readonly from: OwnKey;
  readonly allowed: OwnKeys["allowed"];
  readonly onMade: (secret: NewSecret) => Promise<void>;
  readonly onClose: () => void;
}

/** Gives the names that are in both lists, of which an empty one has all; empty: all. */
const both = (some: readonly string[], others: readonly string[]): readonly string[] =>
  some.length === 0 ? others : others.length === 0 ? some : some.filter((name) => others.includes(name));

/** Asks what a new key is to do, as far as the key and the tier let it. */
export function NewKey({ from, allowed, onMade, onClose }: NewKeyProps) {
  const scopes = from.scopes.filter((scope) => allowed.scopes.includes(scope));
  const routes = both(from.routes, allowed.routes);
  const [name, setName] = useState("");
  const [without, setWithout] = useState<ReadonlySet<string>>(new Set());
  const [ips, setIps] = useState(from.ips.join(", "));
  const [models, setModels] = useState<readonly string[]>(from.models);
  const [expiresAt, setExpiresAt] = useState(from.expiresAt);
  const taken = (kind: string, list: readonly string[]): string[] => list.filter((each) => !without.has(`${kind} ${each}`));
  const take = (what: string, isTaken: boolean): void => {
    const next = new Set(without);
    if (isTaken) next.delete(what);
    else next.add(what);
    setWithout(next);
  };
  const make = async (): Promise<void> => {
    const addresses = wordsOf(ips);
    const body = {
      from: from.id,
      scopes: taken("scope", scopes),
      ...(name.trim() === "" ? {} : { name: name.trim() }),
      ...(routes.length === 0 ? {} : { routes: taken("route", routes) }),
      ...(addresses.length === 0 ? {} : { ips: addresses }),
      ...(models.length === 0 ? {} : { models }),
      ...(expiresAt === null ? {} : { expiresAt }),
    };
    await onMade(await ask<NewSecret>("POST", "api/me/keys", body));
  };
  const choices = (kind: "scope" | "route", list: readonly string[]) =>
    list.map((each) => (
      <CheckField
        key={each}
        name={`${kind}s[${list.indexOf(each)}]`}
        label={each}
        value={!without.has(`${kind} ${each}`)}
        onValue={(isTaken) => take(`${kind} ${each}`, isTaken)}
      />
    ));
  return (
    <Dialog title={`Make a key from ${nameOf(from)}`} onClose={onClose}>
      <Form submit="Make key" needs="viewer" onSubmit={make} onCancel={onClose}>
        <TextField name="name" label="Name" hint="By which you know it again, such as laptop." value={name} onValue={setName} />
        {scopes.length > 0 && (
          <fieldset>
            <legend>Scopes</legend>
            {choices("scope", scopes)}
          </fieldset>
        )}
        {routes.length > 1 && (
          <fieldset>
            <legend>Routes</legend>
            {choices("route", routes)}
            <p class="fine">With none it may use all of these.</p>
          </fieldset>
        )}
        <TextField
          name="ips"
          label="Addresses"
          hint={
            from.ips.length === 0 ? "From which it may be used, such as 192.0.2.0/24; left empty: any." : `Within ${from.ips.join(", ")}.`
          }
          value={ips}
          onValue={setIps}
        />
        {from.models.length > 0 && (
          <WordsField name="models" label="Models" hint={`Within ${from.models.join(", ")}.`} value={models} onValue={setModels} />
        )}
        <TimeField
          name="expiresAt"
          label="Works until"
          hint={from.expiresAt === null ? "Left empty: it has no end." : "No longer than the key from which you make it."}
          value={expiresAt}
          onValue={setExpiresAt}
        />
      </Form>
    </Dialog>
  );
}
