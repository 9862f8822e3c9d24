import type { ComponentChildren } from "preact";
import { useId, useState } from "preact/hooks";
import { type Problem, problemOf } from "../api.ts";
import type { Role } from "../role.ts";
import { whyNot } from "../session.ts";
import { Dialog } from "./dialog.tsx";
import { ErrorNote } from "./error-note.tsx";
import { say } from "./toast.tsx";

export interface ActProps {
  /** The word on the button: a verb. */
  readonly label: string;
  /** Who may do it. */
  readonly needs: Role;
  /** Does it. What it rejects with is shown. */
  readonly act: () => Promise<unknown>;
  /** What is said when it is done; left out: nothing. */
  readonly done?: string;
  readonly primary?: boolean;
  /** What it is done to, for who hears the button alone: "Open breaker of http://…". */
  readonly about?: string;
  readonly disabled?: boolean;
}

/** Holds what an act that may be under way shows. */
function useAct(act: () => Promise<unknown>, done: string | undefined) {
  const [isBusy, setBusy] = useState(false);
  const [problem, setProblem] = useState<Problem | null>(null);
  const run = async (): Promise<boolean> => {
    setBusy(true);
    setProblem(null);
    try {
      await act();
      if (done !== undefined) say(done);
      return true;
    } catch (error) {
      setProblem(problemOf(error));
      return false;
    } finally {
      setBusy(false);
    }
  };
  return { isBusy, problem, setProblem, run };
}

/** Offers an act that needs no second thought. Who may not do it sees why. */
export function Act({ label, needs, act, done, primary = false, about, disabled = false }: ActProps) {
  const { isBusy, run } = useAct(async () => {
    try {
      await act();
    } catch (error) {
      const { message, code } = problemOf(error);
      say(`${label}: ${message} (${code})`, "bad");
      throw error;
    }
  }, done);
  return <ActButton {...{ label, needs, about, isBusy, kind: primary ? "primary" : "", disabled }} onClick={() => void run()} />;
}

interface ActButtonProps extends Pick<ActProps, "label" | "needs" | "disabled"> {
  readonly about: string | undefined;
  readonly isBusy: boolean;
  readonly kind: string;
  readonly onClick: () => void;
}

function ActButton({ label, needs, about, isBusy, kind, disabled = false, onClick }: ActButtonProps) {
  const why = whyNot(needs);
  const id = useId();
  return (
    <>
      <button
        type="button"
        class={kind}
        // Not `disabled`: the reason must be reached by the keyboard.
        aria-disabled={why !== null || isBusy || disabled}
        aria-describedby={why === null ? undefined : id}
        aria-label={about === undefined ? undefined : `${label}: ${about}`}
        title={why ?? undefined}
        onClick={() => {
          if (why === null && !isBusy && !disabled) onClick();
        }}
      >
        {label}
      </button>
      {why !== null && (
        <span id={id} class="hidden">
          {why}
        </span>
      )}
    </>
  );
}

export interface DangerousProps extends ActProps {
  /** The question: "Delete consumer acme?" */
  readonly title: string;
  /** What comes of it. */
  readonly children: ComponentChildren;
  /** What must be typed first, such as a name; left out: a second click is enough. */
  readonly typed?: string;
}

/** Offers an act that can't be taken back, or that callers feel: it asks first. */
export function Dangerous({ label, needs, act, done, about, title, children, typed, disabled = false }: DangerousProps) {
  const [isOpen, setOpen] = useState(false);
  const [text, setText] = useState("");
  const { isBusy, problem, setProblem, run } = useAct(act, done);
  const id = useId();
  const close = (): void => {
    setOpen(false);
    setText("");
    setProblem(null);
  };
  const mayGo = typed === undefined || text === typed;
  return (
    <>
      <ActButton {...{ label, needs, about, isBusy, kind: "danger", disabled }} onClick={() => setOpen(true)} />
      {isOpen && (
        <Dialog title={title} onClose={close}>
          <form
            onSubmit={async (event) => {
              event.preventDefault();
              if (mayGo && !isBusy && (await run())) close();
            }}
          >
            <div class="prose">{children}</div>
            {typed !== undefined && (
              <div class="field">
                <label for={id}>
                  Type <code>{typed}</code> to go on
                </label>
                <input id={id} value={text} autocomplete="off" spellcheck={false} onInput={(event) => setText(event.currentTarget.value)} />
              </div>
            )}
            {problem !== null && <ErrorNote problem={problem} />}
            <div class="acts">
              <button type="submit" class="danger solid" disabled={!mayGo || isBusy}>
                {label}
              </button>
              <button type="button" onClick={close}>
                Cancel
              </button>
            </div>
          </form>
        </Dialog>
      )}
    </>
  );
}
