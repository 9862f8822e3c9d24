/**
 * Gives the value that a share of requests did not exceed, by interpolation within the bucket in which it lies: as exact as buckets are. `counts`
 * are requests by bucket, the last of them beyond all `bounds`, for which the highest bound is given. `null` where nothing was counted.
 *
 * @example
 * percentile([0, 10, 0], [1, 2], 0.5); // 1.5
 */
export function percentile(counts: readonly number[], bounds: readonly number[], share: number): number | null {
  const total = counts.reduce((sum, count) => sum + count, 0);
  if (total <= 0) return null;
  const rank = share * total;
  let below = 0;
  for (const [i, count] of counts.entries()) {
    if (count > 0 && below + count >= rank) {
      const lower = i === 0 ? 0 : (bounds[i - 1] ?? 0);
      const upper = bounds[i] ?? lower;
      return lower + (upper - lower) * Math.max(0, (rank - below) / count);
    }
    below += count;
  }
  return bounds.at(-1) ?? null;
}
