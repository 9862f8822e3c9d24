import { signal } from "@preact/signals";

interface Said {
  readonly id: number;
  readonly text: string;
  readonly tone: "good" | "bad";
}

/** Milliseconds that a message stays, by its tone: what went wrong takes longer to read. */
const STAYS = { good: 5000, bad: 12_000 } as const;
/** The most messages at a time. */
const MOST = 4;

const said = signal<readonly Said[]>([]);
let last = 0;

/** Tells what was done, or went wrong, in a corner of the page, and to a screen reader. */
export function say(text: string, tone: Said["tone"] = "good"): void {
  const id = ++last;
  said.value = [...said.value, { id, text, tone }].slice(-MOST);
  setTimeout(() => dismiss(id), STAYS[tone]);
}

const dismiss = (id: number): void => {
  said.value = said.value.filter((each) => each.id !== id);
};

/** Shows what was said last. There is one, in the frame around the screens. */
export const Toasts = () => (
  <div class="toasts" role="status" aria-live="polite">
    {said.value.map(({ id, text, tone }) => (
      <p key={id} class={`toast ${tone}`}>
        <span>{text}</span>
        <button type="button" class="quiet" onClick={() => dismiss(id)}>
          Dismiss
        </button>
      </p>
    ))}
  </div>
);
