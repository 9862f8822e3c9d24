import type { ComponentChildren } from "preact";
import { useId, useRef, useState } from "preact/hooks";
import { counted } from "../format.ts";
import type { List } from "../list.ts";
import { ErrorNote } from "./error-note.tsx";
import { Icon } from "./icon.tsx";

export interface Column<T> {
  readonly name: string;
  readonly cell: (item: T) => ComponentChildren;
  /** What its rows are sorted by; left out: they can't be. `null` comes last. */
  readonly sort?: (item: T) => string | number | null;
  /** The name by which the gateway sorts them, where the table has an `order`. */
  readonly sortBy?: string;
  /** True for numbers: they are put to the right, below each other. */
  readonly isNumber?: boolean;
  /** True for what a phone has no room for. */
  readonly isWide?: boolean;
}

/** Says how the gateway sorts what comes page by page, and has it sort otherwise. */
export interface Order {
  /** As `?sort=` has it: `name`, or `-name` for the last first. */
  readonly sort: string;
  readonly onSort: (sort: string) => void;
}

export interface TableProps<T> {
  /** Says what it lists, for who hears it. */
  readonly caption: string;
  readonly columns: readonly Column<T>[];
  readonly rows: readonly T[];
  readonly keyOf: (item: T) => string;
  /** What is shown where there are no rows: what they would be, and what to do to have one. */
  readonly empty: ComponentChildren;
  /** The column that the rows are sorted by at first; left out: as they come. */
  readonly sortedBy?: { readonly name: string; readonly isDown?: boolean };
  /** Left out: the table sorts its rows itself. */
  readonly order?: Order;
}

/** Lists rows, which can be sorted. */
export function Table<T>({ caption, columns, rows, keyOf, empty, sortedBy, order }: TableProps<T>) {
  const [sorting, setSorting] = useState(sortedBy ?? null);
  if (rows.length === 0) return <div class="empty">{empty}</div>;
  const by = sorting === null ? undefined : columns.find(({ name }) => name === sorting.name)?.sort;
  const sorted = by === undefined ? rows : rows.toSorted((a, b) => compared(by(a), by(b), sorting?.isDown === true));
  const sortingOf = ({ name, sort, sortBy }: Column<T>): Pick<HeadingProps, "isSortable" | "isDown" | "onSort"> =>
    order === undefined || sortBy === undefined
      ? {
          isSortable: order === undefined && sort !== undefined,
          isDown: sorting?.name === name ? sorting.isDown === true : null,
          onSort: (isDown) => setSorting({ name, isDown }),
        }
      : {
          isSortable: true,
          isDown: order.sort === sortBy ? false : order.sort === `-${sortBy}` ? true : null,
          onSort: (isDown) => order.onSort(isDown ? `-${sortBy}` : sortBy),
        };
  const classOf = ({ isNumber = false, isWide = false }: Column<T>): string => `${isNumber ? "number" : ""} ${isWide ? "wide" : ""}`.trim();
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by the keyboard.
    <section class="scroll" aria-label={caption} tabIndex={0}>
      <table>
        <caption class="hidden">{caption}</caption>
        <thead>
          <tr>
            {columns.map((column) => (
              <Heading
                key={column.name}
                class={classOf(column)}
                name={column.name}
                {...sortingOf(column)}
                isNumber={column.isNumber === true}
              />
            ))}
          </tr>
        </thead>
        <tbody>
          {sorted.map((item) => (
            <tr key={keyOf(item)}>
              {columns.map((column) => (
                <td key={column.name} class={classOf(column)}>
                  {column.cell(item)}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}

interface HeadingProps {
  readonly name: string;
  readonly class: string;
  readonly isSortable: boolean;
  readonly isNumber: boolean;
  /** How the rows are sorted by it; `null`: they are not. */
  readonly isDown: boolean | null;
  readonly onSort: (isDown: boolean) => void;
}

const Heading = ({ name, isSortable, isNumber, isDown, onSort, ...rest }: HeadingProps) => (
  <th scope="col" class={rest.class} aria-sort={isDown === null ? undefined : isDown ? "descending" : "ascending"}>
    {isSortable ? (
      // Of numbers the largest are wanted first.
      <button type="button" class="sort" onClick={() => onSort(isDown === null ? isNumber : !isDown)}>
        {name}
        {isDown !== null && <Icon name={isDown ? "down" : "up"} />}
      </button>
    ) : (
      name
    )}
  </th>
);

function compared(a: string | number | null, b: string | number | null, isDown: boolean): number {
  if (a === null || b === null) return a === b ? 0 : a === null ? 1 : -1;
  const order = typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), "en", { numeric: true });
  return isDown ? -order : order;
}

export interface ListingProps<T> extends Omit<TableProps<T>, "rows"> {
  readonly list: List<T>;
  /** Gives the text of an item that the search box looks in, where the gateway can't search; without either there is no box. */
  readonly textOf?: (item: T) => string;
  /** What is searched: "consumers". */
  readonly noun: string;
  /** Filters beside the search box. */
  readonly filters?: ComponentChildren;
}

/** Lists what the admin API gives page by page, to be searched and sorted. */
export function Listing<T>({ list, textOf, noun, filters, ...table }: ListingProps<T>) {
  const [search, setSearch] = useState("");
  const id = useId();
  const wasFilled = useRef(false);
  wasFilled.current ||= list.items.length > 0;
  const isSearchable = textOf !== undefined || list.search !== undefined;
  // Where there never was a row there is nothing to search.
  const hasSearch = isSearchable && (wasFilled.current || list.isLoading || search !== "");
  const wanted = search.trim().toLowerCase();
  const isHere = list.search === undefined && textOf !== undefined && wanted !== "";
  const rows = isHere ? list.items.filter((item) => textOf(item).toLowerCase().includes(wanted)) : list.items;
  return (
    <div class="listing">
      {(hasSearch || filters !== undefined) && (
        <div class="filters">
          {hasSearch && (
            <div class="search">
              <label for={id} class="hidden">
                Search {noun}
              </label>
              <Icon name="search" />
              <input
                id={id}
                type="search"
                placeholder={`Search ${noun}`}
                value={search}
                onInput={({ currentTarget }) => {
                  setSearch(currentTarget.value);
                  list.search?.(currentTarget.value);
                }}
              />
            </div>
          )}
          {filters}
        </div>
      )}
      {list.error !== null && <ErrorNote problem={list.error} onRetry={list.reload} />}
      {list.isLoading && list.items.length === 0 ? (
        <p class="fine">Loading…</p>
      ) : (
        (list.error === null || rows.length > 0) && (
          <Table {...table} rows={rows} empty={wanted === "" ? table.empty : <p>{`No ${noun} match “${search.trim()}”.`}</p>} />
        )
      )}
      <p class="fine more" role="status">
        {rows.length > 0 && `${counted(rows.length, "row")}${list.hasMore ? " of those loaded so far" : ""}`}
        {list.hasMore && (
          <button type="button" disabled={list.isLoading} onClick={list.more}>
            Load more
          </button>
        )}
      </p>
    </div>
  );
}
