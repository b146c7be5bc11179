import type { Bus } from '../bus/index.ts';
import { checksEveryMs, type ComponentCheck } from '../contracts/index.ts';
import { createPeriodic, type Clock } from '../lifecycle/index.ts';
import type { Logger } from '../telemetry/index.ts';

/** A process, as it speaks of itself. */
export interface ProcessChecks {
  readonly component: string;
  /** Random for each process. */
  readonly instance: string;
  readonly version: string;
  /** Epoch milliseconds. */
  readonly startedAt: number;
  /** Looks at everything anew; never rejects. */
  look(): Promise<ComponentCheck[]>;
}

/** Says at once, and then again and again, what this process finds: to apis, which tell it to administrators. */
export function announceChecks(
  self: ProcessChecks,
  deps: { readonly bus: Pick<Bus, 'hint'>; readonly clock: Clock; readonly log: Logger },
): { stop(): Promise<void> } {
  const { bus, clock, log } = deps;
  const say = async (): Promise<void> => {
    const checks = await self.look();
    const { component, instance, version, startedAt } = self;
    bus.hint({
      name: 'component.checks',
      payload: { component, instance, version, started_at: startedAt, checks },
    });
  };
  const first = say().catch((error: unknown) => {
    log.warn({ err: error }, 'the findings of this process cannot be said now');
  });
  const saying = createPeriodic({ name: 'component-checks', everyMs: checksEveryMs, clock, log }, say);
  return {
    stop: async () => {
      await saying.stop();
      await first;
    },
  };
}
