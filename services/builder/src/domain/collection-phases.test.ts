import { expect, test } from 'vitest';
import { collectionPhases, isCollectionPhase, phasesToUndo, wholeCollectionMs } from './collection-phases.ts';

test('the registry is made writable again from the phase on in which it may be read-only, and builds always begin again', () => {
  const undone = collectionPhases.map((phase) => [phase, phasesToUndo(phase)]);
  expect(undone).toEqual([
    ['pausing', ['resuming']],
    ['draining', ['resuming']],
    ['locking', ['unlocking', 'resuming']],
    ['collecting', ['unlocking', 'resuming']],
    ['unlocking', ['unlocking', 'resuming']],
    ['resuming', ['resuming']],
  ]);
});

test('what undoes a phase never comes before it on the way', () => {
  for (const phase of collectionPhases) {
    for (const step of phasesToUndo(phase)) {
      expect(collectionPhases.indexOf(step)).toBeGreaterThanOrEqual(collectionPhases.indexOf(phase));
    }
  }
});

test('words that are no phase', () => {
  expect(isCollectionPhase('collecting')).toBe(true);
  expect(isCollectionPhase('idle')).toBe(false);
});

test('the deadline leaves room for every part and for undoing', () => {
  const whole = wholeCollectionMs({ drainMs: 1000, switchMs: 100, collectMs: 5000 });
  expect(whole).toBeGreaterThan(1000 + 5000 + 2 * 100);
});
