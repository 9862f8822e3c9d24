import type { ComponentChild, Ref } from "preact";
import { useEffect, useImperativeHandle, useRef, useState } from "preact/hooks";
import type { PlacedFault } from "./file.ts";

/** Goes to places in the text. */
export interface EditorHandle {
  /** Puts the cursor at a line and a column, both from 1, and shows it. */
  readonly goTo: (line: number, column: number) => void;
}

export interface EditorProps {
  readonly label: string;
  readonly text: string;
  readonly onText: (text: string) => void;
  readonly isReadOnly: boolean;
  readonly faults: readonly PlacedFault[];
  /** The id of what says more of it, such as its faults. */
  readonly describedBy?: string | undefined;
  readonly handle: Ref<EditorHandle>;
}

/** Lines above the cursor that are shown when it goes somewhere. */
const ABOVE = 5;

/** Holds a text that is edited, with the numbers of its lines. Tab leaves it, as it leaves any field. */
export function Editor({ label, text, onText, isReadOnly, faults, describedBy, handle }: EditorProps) {
  const area = useRef<HTMLTextAreaElement>(null);
  const numbers = useRef<HTMLDivElement>(null);
  const [place, setPlace] = useState({ line: 1, column: 1 });
  useImperativeHandle(handle, () => ({ goTo: (line, column) => area.current !== null && goTo(area.current, line, column) }), []);
  useEffect(() => {
    const onSelection = (): void => {
      if (area.current !== null && document.activeElement === area.current) setPlace(placeIn(area.current));
    };
    document.addEventListener("selectionchange", onSelection);
    return () => document.removeEventListener("selectionchange", onSelection);
  }, []);
  const follow = (): void => {
    if (numbers.current !== null && area.current !== null) numbers.current.scrollTop = area.current.scrollTop;
  };
  return (
    <div class="editor">
      <div class="lines" aria-hidden="true" ref={numbers}>
        <LineNumbers count={text.split("\n").length} faulty={new Set(faults.map(({ line }) => line))} />
      </div>
      <textarea
        ref={area}
        value={text}
        rows={24}
        wrap="off"
        spellcheck={false}
        autocapitalize="off"
        autocomplete="off"
        aria-label={label}
        aria-invalid={faults.length > 0}
        aria-describedby={describedBy}
        readOnly={isReadOnly}
        onInput={({ currentTarget }) => onText(currentTarget.value)}
        onScroll={follow}
      />
      <p class="fine">
        Line {place.line}, column {place.column}
      </p>
    </div>
  );
}

/** Writes the numbers of lines, with a mark at those that have a fault. */
function LineNumbers({ count, faulty }: { readonly count: number; readonly faulty: ReadonlySet<number> }) {
  const parts: ComponentChild[] = [];
  let plain = "";
  for (let line = 1; line <= count; line++) {
    if (!faulty.has(line)) {
      plain += `${line}\n`;
      continue;
    }
    parts.push(plain, <mark key={line}>{`▸ ${line}`}</mark>);
    plain = "\n";
  }
  return (
    <>
      {parts}
      {plain}
    </>
  );
}

function placeIn(area: HTMLTextAreaElement): { readonly line: number; readonly column: number } {
  const before = area.value.slice(0, area.selectionDirection === "backward" ? area.selectionStart : area.selectionEnd);
  const start = before.lastIndexOf("\n") + 1;
  return { line: before.split("\n").length, column: before.length - start + 1 };
}

function goTo(area: HTMLTextAreaElement, line: number, column: number): void {
  let start = 0;
  for (let i = 1; i < line; i++) {
    const end = area.value.indexOf("\n", start);
    if (end < 0) break;
    start = end + 1;
  }
  const end = area.value.indexOf("\n", start);
  const at = Math.min(start + column - 1, end < 0 ? area.value.length : end);
  area.focus();
  area.setSelectionRange(at, at);
  const { lineHeight, fontSize } = getComputedStyle(area);
  area.scrollTop = (line - 1 - ABOVE) * Number.parseFloat(lineHeight);
  // A letter is about six tenths as wide as it is high.
  area.scrollLeft = (column - 20) * Number.parseFloat(fontSize) * 0.6;
}
