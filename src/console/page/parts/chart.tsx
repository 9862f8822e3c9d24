import { useEffect, useRef, useState } from "preact/hooks";
import { minute, clock as timeOfDay } from "../format.ts";

/** Holds a line of a chart: a value for each time, `null` where there is none. */
export interface Series {
  readonly name: string;
  readonly values: readonly (number | null)[];
  /** Its colour and dashes. */
  readonly tone: "accent" | "warn" | "bad" | "plain" | "good";
}

export interface ChartProps {
  readonly title: string;
  /** What it shows, in a sentence with its last numbers. */
  readonly says: string;
  /** Milliseconds since 1970, one for each value. */
  readonly times: readonly number[];
  readonly series: readonly Series[];
  /** Writes a value. */
  readonly format: (value: number) => string;
  /** Writes the round numbers beside the grid; left out: as the values. */
  readonly axis?: (value: number) => string;
  /** Pixels. */
  readonly height?: number;
}

const LEFT = 52;
/** The width of a digit beside the grid, in pixels. */
const DIGIT = 7;
const TOP = 8;
const BOTTOM = 22;
const LINES = 3;

/** What the top of a chart may begin with: thirds of them are short. */
const STEPS = [1.2, 1.5, 1.8, 2.4, 3, 4.5, 6, 7.5, 9, 12];

/** Gives a round number at or above `value`, so that the grid's lines have short numbers. */
export function ceiling(value: number): number {
  if (value <= 0) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  const step = STEPS.find((each) => each * power >= value) ?? 12;
  return step * power;
}

/** Follows the width of an element, in pixels. */
function useWidth() {
  const element = useRef<HTMLDivElement>(null);
  const [width, setWidth] = useState(600);
  useEffect(() => {
    const { current } = element;
    if (current === null) return;
    const observer = new ResizeObserver(() => setWidth(Math.max(200, Math.round(current.clientWidth))));
    observer.observe(current);
    return () => observer.disconnect();
  }, []);
  return { element, width };
}

/** Draws lines over time, with a table of the same numbers for who can't see them, or wants to read one. */
export function Chart({ title, says, times, series, format, axis = format, height = 180 }: ChartProps) {
  const { element, width } = useWidth();
  const [at, setAt] = useState<number | null>(null);
  const top = ceiling(Math.max(...series.flatMap(({ values }) => values.map((value) => value ?? 0)), 0));
  const marks = Array.from({ length: LINES + 1 }, (_, i) => (top * i) / LINES);
  // Small amounts of money have long numbers.
  const from = Math.max(LEFT, 12 + DIGIT * Math.max(...marks.map((value) => axis(value).length)));
  const x = (index: number): number => from + ((width - from - 8) * index) / Math.max(1, times.length - 1);
  const y = (value: number): number => TOP + (height - TOP - BOTTOM) * (1 - value / top);
  const shown = at !== null && at < times.length ? at : null;
  const onMove = (event: PointerEvent): void => {
    const { left } = (event.currentTarget as SVGElement).getBoundingClientRect();
    const index = Math.round(((event.clientX - left - from) / Math.max(1, width - from - 8)) * (times.length - 1));
    setAt(Math.max(0, Math.min(times.length - 1, index)));
  };
  const isLong = (times.at(-1) ?? 0) - (times[0] ?? 0) > 600_000;
  const write = isLong ? minute : timeOfDay;
  const ticks = Math.max(2, Math.min(6, Math.floor(width / 140)));
  return (
    <figure class="chart">
      <Legend
        {...{ series, format, at: shown ?? times.length - 1 }}
        when={shown === null ? null : write(times[shown] ?? 0)}
        title={title}
      />
      <div ref={element} role="img" aria-label={`${title}. ${says}`}>
        <svg
          {...{ width, height }}
          viewBox={`0 0 ${width} ${height}`}
          onPointerMove={onMove}
          onPointerLeave={() => setAt(null)}
          aria-hidden="true"
        >
          {marks.map((value) => (
            <g key={value} class="grid">
              <line x1={from} x2={width - 8} y1={y(value)} y2={y(value)} />
              <text x={from - 8} y={y(value) + 4} text-anchor="end">
                {axis(value)}
              </text>
            </g>
          ))}
          {times.length > 1 &&
            Array.from({ length: ticks }, (_, i) => Math.round(((times.length - 1) * i) / (ticks - 1))).map((index) => (
              <text
                key={index}
                class="tick"
                x={x(index)}
                y={height - 4}
                text-anchor={index === 0 ? "start" : index === times.length - 1 ? "end" : "middle"}
              >
                {write(times[index] ?? 0)}
              </text>
            ))}
          {series.map(({ name, values, tone }) => (
            <path key={name} class={`line ${tone}`} d={pathOf(values, x, y)} />
          ))}
          {shown !== null && <line class="cursor" x1={x(shown)} x2={x(shown)} y1={TOP} y2={height - BOTTOM} />}
        </svg>
      </div>
      <Numbers {...{ title, times, series, format, write }} />
    </figure>
  );
}

/** Writes the path of a line, with gaps where there is no value. */
function pathOf(values: Series["values"], x: (index: number) => number, y: (value: number) => number): string {
  let path = "";
  let isOn = false;
  values.forEach((value, index) => {
    if (value !== null) path += `${isOn ? "L" : "M"}${x(index).toFixed(1)} ${y(value).toFixed(1)}`;
    isOn = value !== null;
  });
  return path;
}

interface LegendProps extends Pick<ChartProps, "series" | "format" | "title"> {
  readonly at: number;
  readonly when: string | null;
}

const Legend = ({ series, format, at, when, title }: LegendProps) => (
  <figcaption>
    <span class="chart-title">{title}</span>
    {series.map(({ name, tone, values }) => {
      const value = values[at];
      return (
        <span key={name} class={`key ${tone}`}>
          {name} <b>{value === null || value === undefined ? "–" : format(value)}</b>
        </span>
      );
    })}
    {when !== null && <span class="fine">at {when}</span>}
  </figcaption>
);

interface NumbersProps extends Pick<ChartProps, "title" | "times" | "series" | "format"> {
  readonly write: (time: number) => string;
}

/** The same as a table, which is only made while it is open. */
function Numbers({ title, times, series, format, write }: NumbersProps) {
  const [isOpen, setOpen] = useState(false);
  return (
    <details class="numbers" onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary>Numbers</summary>
      {isOpen && (
        // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by the keyboard.
        <section class="scroll short" tabIndex={0} aria-label={`${title}, as numbers`}>
          <table>
            <thead>
              <tr>
                <th scope="col">Time</th>
                {series.map(({ name }) => (
                  <th key={name} scope="col" class="number">
                    {name}
                  </th>
                ))}
              </tr>
            </thead>
            <tbody>
              {times
                .map((time, index) => ({ time, index }))
                .toReversed()
                .map(({ time, index }) => (
                  <tr key={time}>
                    <th scope="row">{write(time)}</th>
                    {series.map(({ name, values }) => {
                      const value = values[index];
                      return (
                        <td key={name} class="number">
                          {value === null || value === undefined ? "–" : format(value)}
                        </td>
                      );
                    })}
                  </tr>
                ))}
            </tbody>
          </table>
        </section>
      )}
    </details>
  );
}

/** Draws how a number went, as large as a word. It says nothing to a screen reader: the number beside it does. */
export function Sparkline({ values, tone = "accent" }: { readonly values: readonly number[]; readonly tone?: Series["tone"] }) {
  const top = Math.max(...values, 0) || 1;
  const step = 96 / Math.max(1, values.length - 1);
  return (
    <svg class="spark" viewBox="0 0 96 24" aria-hidden="true" focusable="false" preserveAspectRatio="none">
      <path
        class={`line ${tone}`}
        d={pathOf(
          values,
          (index) => index * step,
          (value) => 22 - (20 * value) / top,
        )}
      />
    </svg>
  );
}
