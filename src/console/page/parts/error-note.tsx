import type { Problem } from "../api.ts";

/** Tells why something could not be shown or done, with what somebody who helps will ask for. */
export const ErrorNote = ({ problem, onRetry }: { readonly problem: Problem; readonly onRetry?: () => void }) => (
  <div class="note bad" role="alert">
    <p>{problem.message}</p>
    <p class="fine">
      <code>{problem.code}</code>
      {problem.requestId !== null && (
        <>
          {" "}
          · request <code>{problem.requestId}</code>
        </>
      )}
    </p>
    {onRetry !== undefined && (
      <button type="button" onClick={onRetry}>
        Try again
      </button>
    )}
  </div>
);
