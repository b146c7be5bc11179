/** Bytes of passing data after which what held them is given back. */
const passedBytes = 4 * 1024 * 1024;

/**
 * Counts what passes through and has the memory of it given back in time. V8 sees a buffer as a hundred bytes, and lets 32 MB of them pass before it thinks of its young
 * ones: half of what a pod's supervisor has. A collection of a young generation of 1 MB takes well under a millisecond.
 * @param collect absent: node was started without `--expose-gc`
 */
export function createRelief(
  collect: ((options: { readonly type: 'minor' }) => unknown) | undefined,
): (count: number) => void {
  let passed = 0;
  return (count) => {
    passed += count;
    if (passed < passedBytes) return;
    passed = 0;
    void collect?.({ type: 'minor' });
  };
}
