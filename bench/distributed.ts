import { writeFile } from 'node:fs/promises';
import { cpus, loadavg } from 'node:os';
import { benchAccept } from './distributed/accept.ts';
import { benchCreate } from './distributed/create.ts';
import { benchArrive } from './distributed/arrive.ts';
import { benchTransfer } from './distributed/transfer.ts';
import { benchDistributedCalls } from './distributed/calls.ts';
import { createFigures } from './distributed/figures.ts';
import type { DistributedAmounts, Part } from './distributed/parts.ts';

export interface DistributedBenchOptions extends DistributedAmounts {
  /** Names of the parts that are measured, by default all. */
  readonly parts: readonly string[];
  /** File for the value of every round. */
  readonly json: string | undefined;
  readonly write: (text: string) => void;
}

const parts: Readonly<Record<string, Part>> = {
  accept: benchAccept,
  create: benchCreate,
  arrive: benchArrive,
  transfer: benchTransfer,
  calls: benchDistributedCalls,
};
export const partNames = Object.keys(parts);

/** Measures the distributed form on the servers of the environment, each figure beside its ceiling in the same round. */
export async function benchDistributed(options: DistributedBenchOptions): Promise<void> {
  const { write, json, repeat } = options;
  const machine = `${cpus().length} cores (${cpus()[0]?.model ?? 'unknown CPU'}), Node ${process.versions.node}`;
  write(`distributed, ${repeat} rounds, ${machine}, load ${loadOf()}\n\n`);
  const figures = createFigures();
  const say = (text: string): void => {
    process.stderr.write(`${text} (load ${loadOf()})\n`);
  };
  for (const name of options.parts) {
    await parts[name]?.({ amounts: options, figures, say });
  }
  write(figures.table());
  write(`\nload ${loadOf()}\n`);
  if (json !== undefined) {
    await writeFile(
      json,
      `${JSON.stringify({ machine, load: loadavg(), figures: figures.raw() }, null, 2)}\n`,
    );
  }
}

function loadOf(): string {
  return (loadavg()[0] ?? 0).toFixed(1);
}
