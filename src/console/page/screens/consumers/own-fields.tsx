import type { ComponentChildren } from "preact";
import { CheckField } from "../../parts/form.tsx";
import { JsonField } from "../../records/fields.tsx";
import { LimitsEditor } from "../../records/limits-editor.tsx";
import type { FieldsProps } from "../../records/record-page.tsx";
import type { Key } from "../../records/types.ts";

export interface OwnFieldsProps extends FieldsProps<Pick<Key, "limits" | "metadata">> {
  /** Whose limits its own stand in the place of: "the tier's". */
  readonly insteadOf: string;
  /** What stands between the two. */
  readonly children?: ComponentChildren;
}

/** Edits what a consumer and a key both have: limits of its own, and metadata. */
export const OwnFields = ({ draft, change, insteadOf, children }: OwnFieldsProps) => (
  <>
    <CheckField
      name="own-limits"
      label={`Limits of its own, instead of ${insteadOf}`}
      value={draft.limits !== null}
      onValue={(isOwn) => change({ limits: isOwn ? [] : null })}
    />
    {draft.limits !== null && <LimitsEditor name="limits" value={draft.limits} onValue={(limits) => change({ limits })} />}
    {children}
    <JsonField
      name="metadata"
      label="Metadata"
      hint="Anything you want to keep with it, as a JSON object."
      value={draft.metadata}
      onValue={(metadata) => change({ metadata })}
    />
  </>
);
