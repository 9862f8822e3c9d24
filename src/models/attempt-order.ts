/** Says how an attempt is chosen. */
export interface Weighted {
  /** At least 1. */
  readonly weight: number;
  readonly isFallback: boolean;
}

/**
 * Gives the order in which attempts are made: those that are no fallback by chance, each as likely to come next as its weight beside the
 * others' that are left; then the fallbacks, as they are listed. `random` gives numbers from 0 up to 1.
 *
 * @example
 * orderOf([{ weight: 1, isFallback: true }, { weight: 9, isFallback: false }], Math.random); // [{ weight: 9, isFallback: false }, { weight: 1, isFallback: true }]
 */
export function orderOf<T extends Weighted>(attempts: readonly T[], random: () => number): T[] {
  const left = attempts.filter(({ isFallback }) => !isFallback);
  const ordered: T[] = [];
  let sum = left.reduce((all, { weight }) => all + weight, 0);
  while (left.length > 0) {
    let at = random() * sum;
    let i = 0;
    // The last one needs no luck: sums of fractions may end a little short.
    while (i < left.length - 1 && at >= (left[i] as T).weight) at -= (left[i++] as T).weight;
    const [next] = left.splice(i, 1) as [T];
    sum -= next.weight;
    ordered.push(next);
  }
  return [...ordered, ...attempts.filter(({ isFallback }) => isFallback)];
}
