import type { Bus } from '@sluice/shared/bus';
import { createLooks, fine, type Look } from '@sluice/shared/checks';
import type { Clock } from '@sluice/shared/lifecycle';
import type { ObjectStore, RunLedger } from '@sluice/shared/stores';
import type { DeploymentChecks } from '../ports.ts';

/** What an api can look at by itself, where the composition root gives nothing better: whether what it works with answers. */
export function ownChecks(deps: {
  readonly config: { readonly version: string };
  readonly instance: string;
  readonly bus: Pick<Bus, 'check'>;
  readonly ledger: Pick<RunLedger, 'check'>;
  readonly objects: Pick<ObjectStore, 'check'>;
  /** Of what else is in this process. */
  readonly looks?: readonly Look[];
  readonly clock: Clock;
}): DeploymentChecks {
  const { config, instance, bus, ledger, objects, looks = [], clock } = deps;
  const look = createLooks(
    [
      answers('bus', () => bus.check()),
      answers('run ledger', () => ledger.check()),
      answers('object store', () => objects.check()),
      ...looks,
    ],
    { clock },
  );
  return {
    self: { component: 'api', instance, version: config.version, startedAt: clock.now(), look },
    expected: ['api'],
  };
}

function answers(name: string, ask: () => Promise<unknown>): Look {
  return {
    name,
    mend: 'The log of the server says more.',
    look: async () => {
      await ask();
      return [fine(name, 'Answers.')];
    },
  };
}
