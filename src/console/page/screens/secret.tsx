import { useState } from "preact/hooks";
import { type Problem, part, problemOf, send } from "../api.ts";
import { SecretOnce } from "../parts/copy.tsx";
import { ErrorNote } from "../parts/error-note.tsx";
import { ScreenFrame } from "../parts/screen.tsx";
import { whyNot } from "../session.ts";
import type { ScreenProps } from "./index.ts";

interface Seen {
  /** The field of the answer that held it. */
  readonly what: string;
  readonly subject: string;
  readonly secret: string;
}

/** The words for the fields that hold secrets. */
const WORDS: Readonly<Record<string, string>> = { key: "key", token: "token", secret: "signing secret", url: "link" };

/** Shows a secret that an assistant had made, and that was left out of what the assistant was told. */
export function Secret({ rest: [id = ""] }: ScreenProps) {
  const [seen, setSeen] = useState<Seen | null>(null);
  const [problem, setProblem] = useState<Problem | null>(null);
  const why = whyNot("admin");
  const show = async (): Promise<void> => {
    try {
      setSeen((await send<Seen>("POST", `mcp/secrets/${part(id)}`)).value);
    } catch (error) {
      setProblem(problemOf(error));
    }
  };
  return (
    <ScreenFrame
      title="A secret for you"
      intro="An assistant had it made. It was left out of what the assistant was told: you see it here, once, within an hour."
    >
      {problem !== null && <ErrorNote problem={problem} />}
      {seen !== null && (
        <>
          <p>
            It belongs to <code>{seen.subject}</code>.
          </p>
          <SecretOnce secret={seen.secret} what={WORDS[seen.what] ?? seen.what} why="It is not shown again." />
        </>
      )}
      {seen === null && problem === null && why === null && (
        <button type="button" class="primary" onClick={() => void show()}>
          Show it
        </button>
      )}
      {why !== null && <p class="note">{why}</p>}
    </ScreenFrame>
  );
}
