/** The digits behind the point, by the number of thousandths: without zeros at their end, and without the point where there are none. */
const FRACTIONS = Array.from({ length: 1000 }, (_, thousandths) => String(thousandths / 1000).slice(1));

/**
 * Writes a number that is not negative with at most three digits behind the point. A fraction takes JavaScript ten times as long, and every
 * request has one to write.
 *
 * @example
 * inThousandths(2.34567); // "2.346"
 */
export function inThousandths(value: number): string {
  const thousandths = Math.round(value * 1000);
  const whole = Math.floor(thousandths / 1000);
  return `${whole}${FRACTIONS[thousandths - whole * 1000]}`;
}
