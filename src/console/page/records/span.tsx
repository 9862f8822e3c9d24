import { Choice } from "./choice.tsx";

const HOUR = 3_600_000;

/** Spans over which usage is looked at: how it is summed up, and of how many sums each is. `step` in milliseconds. */
const SPANS = {
  day: { words: "the last 24 hours", per: "hour", step: HOUR, many: 24 },
  week: { words: "the last 7 days", per: "hour", step: HOUR, many: 168 },
  month: { words: "the last 30 days", per: "day", step: 24 * HOUR, many: 30 },
} as const;

export type SpanName = keyof typeof SPANS;

/** Gives a span of usage, with when it begins (milliseconds since 1970). */
export function spanOf(name: SpanName) {
  const span = SPANS[name];
  return { ...span, first: Math.floor(Date.now() / span.step) * span.step - (span.many - 1) * span.step };
}

/** Lets the reader choose over how long usage is looked at. */
export const SpanChoice = ({ value, onValue }: { readonly value: SpanName; readonly onValue: (name: SpanName) => void }) => (
  <Choice
    label="Over how long"
    value={value}
    onValue={(next) => onValue(next === "week" || next === "month" ? next : "day")}
    options={Object.entries(SPANS).map(([id, { words }]) => [id, words] as const)}
  />
);
