import { statfs } from 'node:fs/promises';
import { freemem, hostname, loadavg, totalmem } from 'node:os';
import type { NodeFacts } from '@sluice/api';

/** Kubernetes' own limits: what is left when it says that a node is under pressure. */
const lowMemoryBytes = 104_857_600;
const lowDiskShare = 0.1;

interface Amounts {
  readonly cpuMillis: number;
  readonly memoryBytes: number;
}

/**
 * This machine for `GET /system/status`. In use is what all its programs use: cores by the load of the last minute.
 * @param capacity what runs may use of it
 * @param reserved what runs under way declare
 */
export async function readMachine(
  capacity: Amounts,
  reserved: Amounts,
  dataFolder: string,
): Promise<NodeFacts> {
  const [load = 0] = loadavg();
  const disk = await statfs(dataFolder);
  return {
    name: hostname(),
    ready: true,
    cpuMillis: {
      capacity: capacity.cpuMillis,
      used: Math.min(capacity.cpuMillis, Math.round(load * 1000)),
      requested: reserved.cpuMillis,
    },
    memoryBytes: {
      capacity: capacity.memoryBytes,
      used: Math.min(capacity.memoryBytes, totalmem() - freemem()),
      requested: reserved.memoryBytes,
    },
    conditions: [
      { type: 'MemoryPressure', status: freemem() < lowMemoryBytes },
      { type: 'DiskPressure', status: disk.bavail < disk.blocks * lowDiskShare },
      { type: 'Ready', status: true },
    ],
  };
}
