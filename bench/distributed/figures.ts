import { line, summarise, type Summary } from '../statistics.ts';

interface Figure {
  readonly unit: string;
  readonly digits: number;
  /** One value for each round. */
  readonly values: number[];
}

/** What was measured, round by round. */
export interface Figures {
  note(name: string, unit: string, value: number, digits?: number): void;
  /** The table: medians with the smallest and the largest round. */
  table(): string;
  raw(): Readonly<Record<string, Summary & Pick<Figure, 'unit' | 'values'>>>;
}

export function createFigures(): Figures {
  const figures = new Map<string, Figure>();
  return {
    note: (name, unit, value, digits = unit === 'ms' ? 1 : 0) => {
      const figure = figures.get(name) ?? { unit, digits, values: [] };
      figures.set(name, figure);
      figure.values.push(value);
    },
    table: () =>
      [...figures].map(([name, { unit, digits, values }]) => line(name, values, unit, digits)).join(''),
    raw: () =>
      Object.fromEntries(
        [...figures].map(([name, { unit, values }]) => [name, { unit, ...summarise(values), values }]),
      ),
  };
}

/** @param part 50 for the median */
export function percentile(values: readonly number[], part: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor((sorted.length * part) / 100))] ?? Number.NaN;
}

/** Does it `amount` times, `width` at a time; resolves with how many were done in a second. */
export async function rate(
  amount: number,
  width: number,
  one: (index: number) => Promise<unknown>,
): Promise<number> {
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next < amount) {
      next += 1;
      await one(next - 1);
    }
  };
  const started = performance.now();
  await Promise.all(Array.from({ length: width }, worker));
  return amount / ((performance.now() - started) / 1000);
}
