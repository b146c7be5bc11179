import { readdirSync, readFileSync } from 'node:fs';
import { performance } from 'node:perf_hooks';
import { Counter, Gauge, type Registry } from './metrics.ts';

/**
 * The figures that every Prometheus client gives of its process, and how busy the event loop is. Read when somebody asks: the library's own
 * set keeps a timer of 10 ms and an observer of collections going all the time.
 */
export function registerProcessMetrics(registry: Registry, build: { readonly version: string }): void {
  const { versions } = process;
  new Gauge({
    name: 'sluice_build_info',
    help: 'Always 1; its labels say which version runs on which Node.',
    labelNames: ['version', 'node'],
    registers: [registry],
  }).set({ version: build.version, node: versions.node }, 1);
  gauge(
    registry,
    'process_start_time_seconds',
    'When the process started, seconds since 1970.',
    () => performance.timeOrigin / 1000,
  );
  registerUse(registry);
  registerMemory(registry);
  registerEventLoop(registry);
}

/** @param read undefined where the system does not say */
function gauge(registry: Registry, name: string, help: string, read: () => number | undefined): void {
  const made: Gauge = new Gauge({
    name,
    help,
    registers: [registry],
    collect: () => {
      const value = read();
      if (value === undefined) made.reset();
      else made.set(value);
    },
  });
}

function registerUse(registry: Registry): void {
  const cpu: Counter = new Counter({
    name: 'process_cpu_seconds_total',
    help: 'Processor time that the process has used, scripts left out.',
    registers: [registry],
    collect: () => {
      const { user, system } = process.cpuUsage();
      cpu.reset();
      cpu.inc((user + system) / 1e6);
    },
  });
  gauge(registry, 'process_open_fds', 'Open files and sockets; on Linux.', openDescriptors);
  gauge(registry, 'process_max_fds', 'Files and sockets that may be open; on Linux.', descriptorLimit);
}

function registerMemory(registry: Registry): void {
  gauge(registry, 'process_resident_memory_bytes', 'Memory that the process holds.', () =>
    process.memoryUsage.rss(),
  );
  gauge(
    registry,
    'nodejs_heap_size_total_bytes',
    'Size of the JavaScript heap.',
    () => process.memoryUsage().heapTotal,
  );
  gauge(registry, 'nodejs_heap_size_used_bytes', 'Of it, in use.', () => process.memoryUsage().heapUsed);
  gauge(
    registry,
    'nodejs_external_memory_bytes',
    'Buffers outside the heap.',
    () => process.memoryUsage().external,
  );
}

function registerEventLoop(registry: Registry): void {
  let last = performance.eventLoopUtilization();
  gauge(
    registry,
    'nodejs_eventloop_utilization_ratio',
    'Share of the time since the last look in which the event loop was busy; near 1 the process is the bottleneck.',
    () => {
      const now = performance.eventLoopUtilization();
      const { utilization } = performance.eventLoopUtilization(now, last);
      last = now;
      return utilization;
    },
  );
  const lag: Gauge = new Gauge({
    name: 'nodejs_eventloop_lag_seconds',
    help: 'How long a callback that was ready had to wait just now.',
    registers: [registry],
    collect: async () => {
      const started = performance.now();
      const { promise, resolve } = Promise.withResolvers<void>();
      setImmediate(resolve);
      await promise;
      lag.set((performance.now() - started) / 1000);
    },
  });
}

function openDescriptors(): number | undefined {
  try {
    // One is the folder itself.
    return readdirSync('/proc/self/fd').length - 1;
  } catch {
    return undefined;
  }
}

function descriptorLimit(): number | undefined {
  let limits: string;
  try {
    limits = readFileSync('/proc/self/limits', 'utf8');
  } catch {
    return undefined;
  }
  const soft = /^Max open files\s+(\S+)/m.exec(limits)?.[1] ?? '';
  return soft === 'unlimited' ? Number.POSITIVE_INFINITY : Number(soft);
}
