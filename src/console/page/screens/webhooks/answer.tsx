import type { Answered } from "./webhook.ts";

/** Shows what a receiver has answered, or why it has not. */
export const AnswerShown = ({ answered: { status, answer, error } }: { readonly answered: Answered }) => (
  <>
    <p>{status === null ? `No answer: ${error ?? "it was not tried yet"}` : `The receiver answered ${status}.`}</p>
    {answer !== null && answer !== "" && (
      <pre class="answer">
        <code>{answer}</code>
      </pre>
    )}
  </>
);
