/** Runs `work` on at most `step` things at a time until it finds fewer, or `limit` were done. */
export async function inSteps<T>(
  { limit, step }: { readonly limit: number; readonly step: number },
  work: (some: number) => Promise<T>,
  size: (done: T) => number,
): Promise<T[]> {
  const results: T[] = [];
  let left = limit;
  while (left > 0) {
    const some = Math.min(step, left);
    const result = await work(some);
    results.push(result);
    left -= some;
    if (size(result) < some) break;
  }
  return results;
}
