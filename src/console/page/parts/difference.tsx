/** A line of a difference: what went away, what came, what stays, and where that is. */
export interface DifferenceLine {
  readonly sign: "-" | "+" | " " | "@";
  readonly text: string;
}

/** The most lines that are drawn: beyond it the page would stand still. */
const MOST = 5000;

/** Gives the lines of a unified diff. */
export const linesOfDiff = (diff: string): DifferenceLine[] =>
  diff
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => {
      const sign = line[0];
      if (sign === "@") return { sign, text: placeOf(line) };
      return sign === "-" || sign === "+" ? { sign, text: line.slice(1) } : { sign: " ", text: line.slice(1) };
    });

/** Writes where a part of a unified diff begins: `@@ -3,7 +3,8 @@` is line 3. */
const placeOf = (hunk: string): string => `Line ${/\+(\d+)/.exec(hunk)?.[1] ?? "1"}`;

/** Shows lines that went away and that came, each with its sign, so that nobody needs the colours. `label` says of what. */
export function Difference({ label, lines }: { readonly label: string; readonly lines: readonly DifferenceLine[] }) {
  const left = lines.length - MOST;
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by the keyboard.
    <section class="difference" aria-label={label} tabIndex={0}>
      {lines.slice(0, MOST).map(({ sign, text }, i) => {
        if (sign === "@") return <p key={i}>{text}</p>;
        const Element = sign === "-" ? "del" : sign === "+" ? "ins" : "div";
        return (
          <Element key={i}>
            <span class="sign">{sign === "-" ? "−" : sign}</span>
            {text}
          </Element>
        );
      })}
      {left > 0 && <p>{left} more lines are not shown.</p>}
    </section>
  );
}
