/** The longest that `setTimeout` can wait; past it Node fires at once. A script may run for 30 days, which is longer. */
const longestMs = 2 ** 31 - 1;

/** Calls back once after `ms` milliseconds, unless the returned function was called before. */
export function setAlarm(ms: number, ring: () => void): () => void {
  let left = ms;
  let timer: NodeJS.Timeout;
  const wait = (): void => {
    const part = Math.min(left, longestMs);
    left -= part;
    timer = setTimeout(left > 0 ? wait : ring, part);
  };
  wait();
  return () => {
    clearTimeout(timer);
  };
}
