const MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const FIXDATE = /^(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), (\d\d) ([a-z]{3}) (\d{4}) (\d\d):(\d\d):(\d\d) GMT$/i;
const RFC850 = /^(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day, (\d\d)-([a-z]{3})-(\d\d) (\d\d):(\d\d):(\d\d) GMT$/i;
const ASCTIME = /^(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) ([a-z]{3}) ([ \d]\d) (\d\d):(\d\d):(\d\d) (\d{4})$/i;

/**
 * Gives the milliseconds since 1970 of an HTTP date in any of its three forms and any letter case (RFC 9110 §5.6.7), or `null` for anything
 * else. `Date.parse` would take "0" for a date.
 */
export function parseHttpDate(text: string): number | null {
  let parts = FIXDATE.exec(text);
  if (parts !== null) return timeOf(Number(parts[3]), parts[2], parts[1], parts[4], parts[5], parts[6]);
  parts = RFC850.exec(text);
  if (parts !== null) {
    // Two digits that would be more than 50 years ahead mean the past.
    const century = Math.floor(new Date().getUTCFullYear() / 100) * 100;
    const year = century + Number(parts[3]);
    return timeOf(year > new Date().getUTCFullYear() + 50 ? year - 100 : year, parts[2], parts[1], parts[4], parts[5], parts[6]);
  }
  parts = ASCTIME.exec(text);
  return parts === null ? null : timeOf(Number(parts[6]), parts[1], parts[2]?.trim(), parts[3], parts[4], parts[5]);
}

function timeOf(year: number, month = "", day = "", hour = "", minute = "", second = ""): number | null {
  const at = MONTHS.indexOf(month.toLowerCase());
  return at < 0 || Number(hour) > 23 || Number(minute) > 59 || Number(second) > 60
    ? null
    : Date.UTC(year, at, Number(day), Number(hour), Number(minute), Number(second));
}
