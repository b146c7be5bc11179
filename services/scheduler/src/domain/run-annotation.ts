import { carriedEventBytes, Run } from '@sluice/shared/contracts';
import { Compile } from 'typebox/compile';
import { podAnnotations } from './pod-labels.ts';

/** Kubernetes allows an object's annotations 256 KiB in all; some is left for what the cluster itself adds. */
const maxAnnotationBytes = 240 * 1024;

/**
 * The run as annotations of its Job, as far as there is room beside the others. Its time line stays behind: it only grows.
 * @param others the annotations that go with it
 */
export function runAnnotations(
  run: Run | undefined,
  others: Readonly<Record<string, string>>,
): Record<string, string> {
  if (run === undefined) return {};
  const room = maxAnnotationBytes - sizeOf(others);
  const kept = { ...run, timeline: [] };
  const size = run.event.kind === 'inline' ? Buffer.byteLength(run.event.data) : 0;
  const whole = JSON.stringify(kept);
  if (size <= carriedEventBytes && Buffer.byteLength(whole) <= room) return { [podAnnotations.run]: whole };
  // An event that is nowhere to be found: another attempt of the restored run then fails and says so, instead of working on an empty one.
  const event: Run['event'] = { kind: 'object', key: `events/not-kept/${run.id}`, size };
  const text = JSON.stringify({ ...kept, event });
  if (Buffer.byteLength(text) > room) return {};
  return { [podAnnotations.run]: text, [podAnnotations.event]: 'omitted' };
}

function sizeOf(annotations: Readonly<Record<string, string>>): number {
  return Object.entries(annotations).reduce(
    (sum, [key, value]) => sum + Buffer.byteLength(key) + Buffer.byteLength(value),
    0,
  );
}

/** Undefined where a Job carries no run, or none that can be read. */
export function createRunReader(): (object: unknown) => Run | undefined {
  const contract = Compile(Run);
  return (object) => {
    const { metadata } = object as { metadata?: { annotations?: Record<string, string> } };
    const text = metadata?.annotations?.[podAnnotations.run];
    if (text === undefined) return undefined;
    try {
      const run: unknown = JSON.parse(text);
      return contract.Check(run) ? run : undefined;
    } catch {
      return undefined;
    }
  };
}
