import { expect, test } from 'vitest';
import type { JobView, PodView } from '../domain/kube-views.ts';
import { createKubeAttempts, hasSurelyEnded, seemsEnded, type KubeAttempt } from './kube-attempts.ts';

const ref = { run_id: 'demo-1', attempt: 1 };
const quiet = { image: undefined, waiting: undefined, ended: undefined };

function jobOf(more: Partial<JobView> = {}): JobView {
  return {
    name: 'job',
    ref,
    service: 'demo',
    createdAt: 0,
    state: 'open',
    reason: undefined,
    suspended: false,
    queue: undefined,
    active: 1,
    ...more,
  };
}

function podOf(more: Partial<PodView> = {}): PodView {
  return {
    name: 'pod',
    ref,
    service: 'demo',
    createdAt: 0,
    phase: 'Pending',
    reason: undefined,
    message: undefined,
    node: undefined,
    dueAt: undefined,
    unschedulable: undefined,
    disruption: undefined,
    script: quiet,
    supervisor: quiet,
    memoryLimit: undefined,
    ...more,
  };
}

function bookOf(): {
  book: ReturnType<typeof createKubeAttempts>;
  attempt: () => KubeAttempt;
  less: () => number;
} {
  let less = 0;
  const book = createKubeAttempts(
    () => undefined,
    () => {
      less += 1;
    },
  );
  return { book, attempt: () => book.open(ref, 'demo'), less: () => less };
}

test('room is taken from the wish to start on, waits until the pod runs, and comes back at the end', () => {
  const { book, attempt, less } = bookOf();
  const room = (): [number, number] => [book.used(), book.pending()];
  attempt().startedAt = 1;
  book.account(attempt());
  expect(room()).toEqual([1, 1]);
  book.putJob(undefined, jobOf());
  book.putPod(undefined, podOf());
  expect(room()).toEqual([1, 1]);
  book.putPod(podOf(), podOf({ phase: 'Running' }));
  expect(room()).toEqual([1, 0]);
  expect(less()).toBe(1);
  book.putPod(podOf({ phase: 'Running' }), podOf({ phase: 'Succeeded' }));
  book.putJob(jobOf(), jobOf({ state: 'ended' }));
  expect(room()).toEqual([0, 0]);
  book.putJob(jobOf({ state: 'ended' }), undefined);
  book.forget(attempt());
  expect(room()).toEqual([0, 0]);
  expect(book.all.size).toBe(0);
});

test('a pod whose Job has gone takes room until it has ended', () => {
  const { book } = bookOf();
  book.putPod(undefined, podOf({ phase: 'Running' }));
  expect(book.used()).toBe(1);
  book.putPod(podOf({ phase: 'Running' }), undefined);
  expect(book.used()).toBe(0);
});

test('what a queue holds back is not counted as waiting', () => {
  const { book } = bookOf();
  book.putJob(undefined, jobOf({ suspended: true, active: 0 }));
  expect([book.used(), book.pending()]).toEqual([1, 0]);
});

test('it seems to have ended when its Job or its pod has, and surely when nothing of it runs', () => {
  const { book, attempt } = bookOf();
  const ended = (lostBefore = 0): [boolean, boolean] => [
    seemsEnded(attempt()),
    hasSurelyEnded(attempt(), lostBefore),
  ];
  attempt().startedAt = 1;
  expect(ended()).toEqual([false, false]);
  book.putJob(undefined, jobOf());
  expect(ended()).toEqual([false, false]);
  book.putPod(undefined, podOf({ phase: 'Running' }));
  expect(ended()).toEqual([false, false]);
  book.putJob(jobOf(), jobOf({ state: 'ending' }));
  expect(ended()).toEqual([true, false]);
  book.putJob(jobOf(), undefined);
  expect(ended()).toEqual([true, false]);
  // On a node that is not reached any more a deleted pod stays for ever.
  book.putPod(podOf(), podOf({ phase: 'Running', dueAt: 500 }));
  expect(ended(500)).toEqual([true, false]);
  expect(ended(501)).toEqual([true, true]);
  book.putPod(podOf(), podOf({ phase: 'Failed', dueAt: 500 }));
  expect(ended()).toEqual([true, true]);
});

test('a pod that has gone is the end of its attempt, whatever its Job says so far', () => {
  const { book, attempt } = bookOf();
  book.putJob(undefined, jobOf());
  book.putPod(undefined, podOf());
  book.putPod(podOf(), undefined);
  expect(hasSurelyEnded(attempt(), 0)).toBe(true);
  expect(attempt().lastPod).toEqual(podOf());
});
