import type { ComponentChildren, ComponentType } from "preact";
import { useState } from "preact/hooks";
import { part, send } from "../api.ts";
import { ago, dateTime } from "../format.ts";
import { Dangerous } from "../parts/act.tsx";
import { ConflictNotice } from "../parts/conflict.tsx";
import { Code } from "../parts/copy.tsx";
import { ErrorNote } from "../parts/error-note.tsx";
import { Form, TextField } from "../parts/form.tsx";
import { Panel, ScreenFrame } from "../parts/screen.tsx";
import { Tabs } from "../parts/tabs.tsx";
import { say } from "../parts/toast.tsx";
import { type Editable, useRecord } from "../record.ts";
import { go } from "../router.ts";
import { declaredBy } from "./declared-by.ts";
import { JsonForm } from "./json-form.tsx";
import { patchBetween, without } from "./patch.ts";
import { ManagedByFile, SourceBadge } from "./source.tsx";
import type { Managed } from "./types.ts";

/** What the gateway says of each record, and takes of none. */
const TOLD = ["name", "source", "createdAt", "updatedAt", "state"] as const;

interface Named {
  readonly name: string;
}

export interface FieldsProps<T> {
  readonly draft: T;
  readonly change: (changed: Partial<T>) => void;
}

export interface RecordWords<T> {
  /** What it is: "route". */
  readonly noun: string;
  /** The list of the admin API: "routes". */
  readonly list: string;
  /** Where its list is shown. */
  readonly back: string;
  readonly backTo: string;
  /** The fields that have a form; all others are in the JSON. */
  readonly Fields: ComponentType<FieldsProps<T>>;
  /** What is lost when it is deleted. */
  readonly lost: string;
  /** Says what is in use of it, for the choice to delete it all the same. */
  readonly force: string;
}

/** Shows a named record, and lets it be changed: the common fields by a form, all of them as JSON. */
export function RecordPage<S extends Named, T extends S & Managed>({
  name,
  words,
  children,
  below,
}: {
  readonly name: string;
  readonly words: RecordWords<S>;
  /** What is shown above the editor. */
  readonly children?: (record: T) => ComponentChildren;
  /** What is shown below the editor. */
  readonly below?: ComponentChildren;
}) {
  const { noun, list, back, backTo } = words;
  const record = useRecord<T>(`${list}/${part(name)}`);
  const { value } = record;
  return (
    <ScreenFrame
      title={name}
      intro={<a href={back}>{`← ${backTo}`}</a>}
      acts={value?.source === "admin" && <DeleteRecord {...{ name, words }} />}
    >
      {record.error !== null && <ErrorNote problem={record.error} onRetry={record.reload} />}
      {value !== null && (
        <>
          <p class="fine">
            <SourceBadge of={value} />{" "}
            {value.updatedAt === null
              ? declaredBy.value === "file"
                ? "Declared in the configuration file."
                : "Declared by the embedded demo."
              : `Changed ${ago(value.updatedAt)}, on ${dateTime(value.updatedAt)}.`}
          </p>
          {children?.(value)}
          <Panel title={value.source === "config" ? "Its settings" : "Change it"}>
            <RecordSettings<S, T> {...{ record, value, noun }} told={TOLD} Fields={words.Fields} />
          </Panel>
          {below}
        </>
      )}
    </ScreenFrame>
  );
}

interface EditorProps<S, T> {
  readonly record: Editable<T>;
  readonly value: T;
  readonly noun: string;
  /** The fields that the gateway tells and does not take. */
  readonly told: readonly string[];
  /** What a field is that the JSON leaves out, where the gateway takes no null for it. */
  readonly defaults?: Readonly<Record<string, unknown>>;
  readonly Fields: ComponentType<FieldsProps<S>>;
}

/** Lets a record be changed, or shows it where something else declares it. */
export const RecordSettings = <S extends object, T extends S & Managed>(props: EditorProps<S, T>) =>
  props.value.source === "config" ? (
    <>
      <ManagedByFile what={props.noun} />
      <Code text={JSON.stringify(without(props.value, props.told), null, 2)} what="JSON" />
    </>
  ) : (
    <>
      <ConflictNotice record={props.record} />
      <RecordEditor<S, T> {...props} />
    </>
  );

/** Lets a record be changed: the common fields by a form, all of them as JSON. */
export function RecordEditor<S extends object, T extends S & Managed>(props: EditorProps<S, T>) {
  const [mode, setMode] = useState<Mode>("form");
  return (
    <Tabs label="How to change it" tabs={MODES} current={mode} onChange={(id) => setMode(id === "json" ? "json" : "form")}>
      {/* After a change it begins anew with what is in force. */}
      <Writing key={props.value.updatedAt} {...props} mode={mode} />
    </Tabs>
  );
}

function Writing<S extends object, T extends S>({
  record,
  value,
  noun,
  told,
  defaults,
  Fields,
  mode,
}: EditorProps<S, T> & { readonly mode: Mode }) {
  const [draft, setDraft] = useState<S>(value);
  const editable = without(value, told);
  const save = async (after: Record<string, unknown>): Promise<void> => {
    const patch = patchBetween(editable, { ...defaults, ...after });
    if (Object.keys(patch).length === 0) {
      say("Nothing was changed.");
      return;
    }
    // A merge patch may hold null where the record has no field.
    if (await record.save(patch as Partial<T>)) say(`The ${noun} is saved and in force.`);
  };
  return mode === "form" ? (
    <Form submit="Save" needs="admin" onSubmit={() => save(without(draft, told))}>
      <Fields draft={draft} change={(changed) => setDraft((before) => ({ ...before, ...changed }))} />
    </Form>
  ) : (
    <JsonForm label={`All settings of the ${noun}`} initial={without(draft, told)} submit="Save" needs="admin" onSubmit={save} />
  );
}

type Mode = "form" | "json";

const MODES = [
  { id: "form", name: "Form" },
  { id: "json", name: "JSON" },
] as const;

export interface NewRecordProps<S> {
  readonly words: RecordWords<S>;
  /** What the form begins with. */
  readonly initial: S;
  readonly intro: ComponentChildren;
  /** Gives the page of the one that was made. */
  readonly hrefOf: (name: string) => string;
  /** What a name may look like. */
  readonly example: string;
  /** True where the name may be left out. */
  readonly isNameOptional?: boolean;
}

/** Lets a named record be made. */
export function NewRecord<S extends Named>({ words, initial, intro, hrefOf, example, isNameOptional = false }: NewRecordProps<S>) {
  const { noun, list, back, Fields } = words;
  const [mode, setMode] = useState("form");
  const [draft, setDraft] = useState<S>(initial);
  const change = (changed: Partial<S>): void => setDraft((before) => ({ ...before, ...changed }));
  const create = async (body: object): Promise<void> => {
    const { value } = await send<{ readonly name: string }>("POST", list, { body });
    say(`The ${noun} ${value.name} is in force.`);
    go(hrefOf(value.name));
  };
  return (
    <ScreenFrame title={`New ${noun}`} intro={intro}>
      <Panel title="Its settings">
        <Tabs label="How to write it" tabs={MODES} current={mode} onChange={setMode}>
          {mode === "form" ? (
            <Form submit={`Create ${noun}`} needs="admin" onSubmit={() => create(given(draft))} onCancel={() => go(back)}>
              <TextField
                name="name"
                label="Name"
                required={!isNameOptional}
                value={draft.name}
                placeholder={example}
                onValue={(name) => setDraft((before) => ({ ...before, name }))}
              />
              <Fields draft={draft} change={change} />
            </Form>
          ) : (
            <JsonForm
              label={`The ${noun}`}
              initial={given(draft)}
              submit={`Create ${noun}`}
              needs="admin"
              onSubmit={create}
              onCancel={() => go(back)}
            />
          )}
        </Tabs>
      </Panel>
    </ScreenFrame>
  );
}

/** Gives what was written into a form: what was left empty has its default. */
const given = (draft: object): Record<string, unknown> =>
  Object.fromEntries(Object.entries(draft).filter(([, value]) => value !== undefined && value !== ""));

function DeleteRecord<T>({ name, words: { noun, list, back, lost, force } }: { readonly name: string; readonly words: RecordWords<T> }) {
  const [isForced, setForced] = useState(false);
  return (
    <Dangerous
      label="Delete"
      about={`${noun} ${name}`}
      needs="admin"
      title={`Delete ${noun} ${name}?`}
      done={`The ${noun} ${name} is deleted.`}
      act={async () => {
        await send("DELETE", `${list}/${part(name)}`, { query: { force: isForced ? "true" : null } });
        go(back);
      }}
    >
      <p>{lost}</p>
      <label>
        <input type="checkbox" checked={isForced} onChange={(event) => setForced(event.currentTarget.checked)} /> {force}
      </label>
    </Dangerous>
  );
}
