/**
 * Return the q-quantile of a histogram, as Prometheus' histogram_quantile does: linear within the
 * bucket that holds it; the first bucket starts at 0.
 *
 * `buckets`: [[upper bound, cumulative count], …] by rising bound, +Inf last. NaN when nothing was
 * observed. A quantile beyond the last finite bound is that bound.
 */
export function quantile(q, buckets) {
  if (buckets.length < 2) return NaN;
  const total = buckets[buckets.length - 1][1];
  if (!(total > 0)) return NaN;
  const rank = q * total;
  const at = buckets.findIndex(([, count]) => count >= rank);
  if (at === buckets.length - 1) return buckets[at - 1][0];
  const [end, count] = buckets[at];
  if (at === 0 && end <= 0) return end;
  const [start, before] = at === 0 ? [0, 0] : buckets[at - 1];
  return start + ((end - start) * (rank - before)) / (count - before);
}
