import { KeyValue } from "../../parts/key-value.tsx";
import { hrefTo } from "../../router.ts";
import { differenceOf } from "./difference.ts";
import type { AuditRow } from "./index.tsx";

/** Shows what was done, and the fields that it changed to who opens it. */
export function WhatChanged({ row: { action, subject, before, after, requestId } }: { readonly row: AuditRow }) {
  const changes = differenceOf(before, after);
  return (
    <details class="happening">
      <summary>
        {action} <span class="fine">{subject}</span>
      </summary>
      {changes.length === 0 ? (
        <p class="fine">Nothing more is written down of it.</p>
      ) : (
        <KeyValue
          of={changes.map(({ name, was, is }) => [
            name,
            <>
              {was !== null && (
                <del>
                  <span aria-hidden="true">− </span>
                  {was}
                </del>
              )}
              {is !== null && (
                <ins>
                  <span aria-hidden="true">+ </span>
                  {is}
                </ins>
              )}
            </>,
          ])}
        />
      )}
      {requestId !== "" && (
        <p class="fine">
          Request <a href={hrefTo(["why"], { request: requestId })}>{requestId}</a>
        </p>
      )}
    </details>
  );
}
