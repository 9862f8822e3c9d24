import type { ComponentChildren } from "preact";

export interface RowsProps {
  readonly title: string;
  /** What is said where there are none. */
  readonly none?: string;
  readonly isEmpty?: boolean;
  /** The words of the button that adds one. */
  readonly add: string;
  readonly onAdd: () => void;
  readonly children: ComponentChildren;
}

/** Frames rows of a form, to which more can be added. */
export const Rows = ({ title, none, isEmpty = false, add, onAdd, children }: RowsProps) => (
  <fieldset class="rows">
    <legend>{title}</legend>
    {isEmpty && <p class="fine">{none}</p>}
    {children}
    <button type="button" onClick={onAdd}>
      {add}
    </button>
  </fieldset>
);

export interface RowProps {
  /** What it is, with its number: "limit 1". */
  readonly what: string;
  /** `null`: it can't be removed. */
  readonly onRemove: (() => void) | null;
  /** What stands below its fields, such as rows of its own. */
  readonly below?: ComponentChildren;
  /** What stands beside the button that removes it. */
  readonly end?: ComponentChildren;
  readonly children: ComponentChildren;
}

/** Frames one row of a form: its fields, and below them the way to remove it. */
export const Row = ({ what, onRemove, below, end, children }: RowProps) => (
  <fieldset class="row">
    <legend class="hidden">{what}</legend>
    <div class="cells">{children}</div>
    {below}
    {(end !== undefined || onRemove !== null) && (
      <div class="row-end">
        <div>{end}</div>
        {onRemove !== null && (
          <button type="button" class="quiet" aria-label={`Remove ${what}`} onClick={onRemove}>
            Remove
          </button>
        )}
      </div>
    )}
  </fieldset>
);
