import { isFinal, type Run } from '@sluice/shared/contracts';

/** Whether an attempt is over, given what its run is now or what was said of it, perhaps late. */
export function isOver(attempt: number, now: Pick<Run, 'attempt' | 'state'>): boolean {
  if (now.attempt !== attempt) return now.attempt > attempt;
  // At the same attempt `queued` is what was before it.
  return isFinal(now.state);
}
