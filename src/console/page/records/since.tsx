import { ago, dateTime } from "../format.ts";

/** Says how long ago a time was, or how long it is until then; the time itself on a look. */
export const Since = ({ time }: { readonly time: string }) => (
  <time dateTime={time} title={dateTime(time)}>
    {ago(time)}
  </time>
);
