import { isFinal, type Run } from '@sluice/shared/contracts';
import { AppError } from '@sluice/shared/errors';
import type { LedgerRecovery, NewRun, RunLedger } from '@sluice/shared/stores';

export interface ForgetfulLedger extends RunLedger, LedgerRecovery {
  /** All is gone, as with a cache server that was emptied. */
  forget(): Promise<void>;
}

/**
 * A ledger that can lose its memory: real ones, one after the other. Between them it refuses everything but its recovery, as the port says.
 * @param make an empty ledger
 */
export async function createForgetfulLedger(make: () => Promise<RunLedger>): Promise<ForgetfulLedger> {
  const state = { ledger: await make(), intact: false };
  const listeners = new Set<() => void>();
  const listenAgain = (): void => {
    for (const listener of listeners) state.ledger.onOutbox(listener);
  };
  const recovery: LedgerRecovery & Pick<ForgetfulLedger, 'forget' | 'onOutbox'> = {
    forget: async () => {
      state.intact = false;
      state.ledger = await make();
      listenAgain();
    },
    isIntact: () => Promise.resolve(state.intact),
    restore: async (runs) => {
      for (const run of runs) await restoreRun(state.ledger, run);
    },
    restoreClaims: async (claims) => {
      for (const { id } of claims) await restoreClaim(state.ledger, id);
    },
    markIntact: () => {
      state.intact = true;
      return Promise.resolve();
    },
    onOutbox: (listener) => {
      listeners.add(listener);
      const stop = state.ledger.onOutbox(listener);
      return () => {
        listeners.delete(listener);
        stop();
      };
    },
  };
  return new Proxy({} as ForgetfulLedger, {
    get: (_target, name) => {
      const own: unknown = Reflect.get(recovery, name);
      // Not a promise, whoever asks.
      if (own !== undefined || name === 'then') return own;
      return (...args: unknown[]): unknown => {
        if (!state.intact)
          return Promise.reject(new AppError('unavailable', 'The ledger is being restored.'));
        const method: unknown = Reflect.get(state.ledger, name);
        return typeof method === 'function'
          ? (Reflect.apply(method, state.ledger, args) as unknown)
          : undefined;
      };
    },
  });
}

/** What the embedded ledger has no method for, by way of its changes; the start messages that this leaves find their runs gone on. */
async function restoreRun(ledger: RunLedger, run: Run): Promise<void> {
  const { id, attempt } = run;
  const [claim] = await ledger.claim([asNew(run)]);
  if (claim?.created !== true) return;
  if (attempt > 1) await ledger.transition({ id, from: ['queued'], to: 'queued', set: { attempt } });
  if (run.state === 'queued') return;
  const { service_version: version, exit_code: code, failure, outputs } = run;
  await ledger.transition({
    id,
    from: ['queued'],
    to: 'starting',
    set: version === undefined ? {} : { service_version: version },
  });
  if (!isFinal(run.state) && run.state !== 'running') return;
  await ledger.transition({
    id,
    from: ['starting'],
    to: run.state,
    set: {
      ...(code === undefined ? {} : { exit_code: code }),
      ...(failure === undefined ? {} : { failure }),
      ...(outputs === undefined ? {} : { outputs }),
    },
  });
}

async function restoreClaim(ledger: RunLedger, id: string): Promise<void> {
  const run: NewRun = {
    id,
    service: 'gone',
    service_uid: 'gone',
    source: 'job',
    event: { kind: 'inline', encoding: 'utf8', data: '' },
    traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
    hop: 0,
  };
  const [claim] = await ledger.claim([run]);
  if (claim?.created !== true) return;
  await ledger.transition({ id, from: ['queued'], to: 'cancelled' });
  await ledger.remove([id]);
}

function asNew(run: Run): NewRun {
  const { id, service, service_uid, source, input, event, user, traceparent, hop, retry_of } = run;
  return {
    id,
    service,
    service_uid,
    source,
    event,
    traceparent,
    hop,
    ...(input === undefined ? {} : { input }),
    ...(user === undefined ? {} : { user }),
    ...(retry_of === undefined ? {} : { retry_of }),
  };
}
