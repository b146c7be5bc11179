/** Median, smallest and largest of some measurements. */
export interface Summary {
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

export function summarise(values: readonly number[]): Summary {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? Number.NaN;
  const lower = sorted.length % 2 === 0 ? (sorted[middle - 1] ?? upper) : upper;
  return { median: (upper + lower) / 2, min: sorted[0] ?? Number.NaN, max: sorted.at(-1) ?? Number.NaN };
}

/** One line: `runs per second   412 (398 to 431)`. */
export function line(label: string, values: readonly number[], unit: string, digits = 0): string {
  const { median, min, max } = summarise(values);
  const show = (value: number): string => value.toFixed(digits);
  return `${label.padEnd(52)} ${show(median).padStart(8)} ${unit} (${show(min)} to ${show(max)})\n`;
}
