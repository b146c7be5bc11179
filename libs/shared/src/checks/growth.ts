/** Whether a figure only ever grows. */
export interface Growth {
  /** Takes a figure of now; true where it was larger each time, as often as it takes to believe it. */
  grows(value: number, monotonicMs: number): boolean;
}

/** @param times how often in a row, @param apartMs figures that come sooner after one another count as one */
export function createGrowth({
  times,
  apartMs,
}: {
  readonly times: number;
  readonly apartMs: number;
}): Growth {
  let last: { readonly value: number; readonly at: number } | undefined;
  let grown = 0;
  return {
    grows: (value, at) => {
      if (last !== undefined && at - last.at < apartMs && value >= last.value) return grown >= times;
      grown = last !== undefined && value > last.value ? grown + 1 : 0;
      last = { value, at };
      return grown >= times;
    },
  };
}
