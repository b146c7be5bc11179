import { isAppError } from '@sluice/shared/errors';
import type { Clock } from '@sluice/shared/lifecycle';
import type { ObjectStore } from '@sluice/shared/stores';
import { Counter, Histogram, type Registry } from '@sluice/shared/telemetry';

/** Counts and times what goes to and from the objects, whatever adapter holds them. */
export function meterObjects(
  store: ObjectStore,
  deps: { readonly metrics: Registry; readonly clock: Pick<Clock, 'monotonic'> },
): ObjectStore {
  const metrics = objectMetrics(deps.metrics);
  const timed = async <T>(operation: string, work: () => Promise<T>): Promise<T> => {
    const started = deps.clock.monotonic();
    try {
      return await work();
    } catch (error) {
      metrics.failures.inc({ operation, code: isAppError(error) ? error.code : 'internal' });
      throw error;
    } finally {
      metrics.seconds.observe({ operation }, (deps.clock.monotonic() - started) / 1000);
    }
  };
  return {
    ...store,
    head: (...args) => timed('head', () => store.head(...args)),
    get: (...args) =>
      timed('get', async () => {
        const found = await store.get(...args);
        metrics.bytes.inc({ direction: 'read' }, found.info.size);
        return found;
      }),
    put: (...args) =>
      timed('put', async () => {
        const stored = await store.put(...args);
        metrics.bytes.inc({ direction: 'written' }, stored.size);
        return stored;
      }),
    remove: (...args) => timed('remove', () => store.remove(...args)),
    list: (...args) => timed('list', () => store.list(...args)),
  };
}

function objectMetrics(registry: Registry) {
  const registers = [registry];
  return {
    seconds: new Histogram({
      name: 'sluice_objects_operation_duration_seconds',
      help: 'Time that the object store took, bodies of uploads included, those of downloads not.',
      labelNames: ['operation'],
      buckets: [0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10, 60],
      registers,
    }),
    failures: new Counter({
      name: 'sluice_objects_operation_failures_total',
      help: 'Operations that the object store refused or could not do, by code (precondition_failed and not_found are everyday).',
      labelNames: ['operation', 'code'],
      registers,
    }),
    bytes: new Counter({
      name: 'sluice_objects_bytes_total',
      help: 'Bytes of objects written and of those opened for reading.',
      labelNames: ['direction'],
      registers,
    }),
  };
}
