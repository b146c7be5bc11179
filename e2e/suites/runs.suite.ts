import { expect, test } from 'vitest';
import { createService, runOf, runsOf, small, tokenOf, type RunView } from '../support/service.ts';
import { waitFor } from '../support/wait.ts';
import type { World } from '../support/world.ts';

/** What can be done with a run from outside, asked of whichever process answers. */
export function describeRuns(world: () => World): void {
  const submit = async (service: string, headers: Record<string, string> = {}): Promise<string> => {
    const authorization = `Bearer ${await tokenOf(world(), service)}`;
    const answer = await world().request(`/job/${service}`, {
      method: 'POST',
      body: 'an event',
      headers: { ...headers, authorization },
    });
    expect(answer.status).toBe(201);
    return answer.headers.get('x-run-id') ?? '';
  };
  const until = (id: string, state: string): Promise<RunView> =>
    waitFor(`${id} to be ${state}`, async () => {
      const run = await runOf(world(), id);
      return run.state === state ? run : undefined;
    });

  test('a call that is repeated with its key is one run', async () => {
    await createService(world(), 'once', 'true\n', small);
    const key = { 'idempotency-key': 'a key of the caller' };
    const ids = await Promise.all([1, 2, 3, 4].map(() => submit('once', key)));
    expect(new Set(ids).size).toBe(1);
    await until(ids[0] ?? '', 'succeeded');
    expect(await submit('once', key)).toBe(ids[0]);
    expect(await runsOf(world(), 'once')).toHaveLength(1);
  });

  test('a run that is under way is cancelled, in the words of whoever asked, and can be run again', async () => {
    const { gate } = world();
    await createService(world(), 'halted', `${gate.wait('halted')}\n`, small);
    const id = await submit('halted');
    await gate.reached('halted');
    await until(id, 'running');
    const cancelled = await world().request(`/system/runs/${id}/cancel`, { method: 'POST' });
    expect(cancelled.status).toBe(202);
    const ended = await until(id, 'cancelled');
    const asked = ended.timeline.find(({ message }) => message?.includes('cancel'));
    expect(ended.failure).toEqual({ code: 'cancelled', message: asked?.message });
    gate.open('halted');
    const again = await world().request(`/system/runs/${id}/retry`, { method: 'POST' });
    const { id: next } = (await again.json()) as { id: string };
    await until(next, 'succeeded');
    expect((await runOf(world(), id)).state).toBe('cancelled');
  });

  test('an event too large for messages reaches the script whole', async () => {
    await createService(world(), 'large', 'wc -c < "$INPUT_FILE_PATH"\n', small);
    const headers = { authorization: `Bearer ${await tokenOf(world(), 'large')}` };
    for (const size of [8192, 200_000]) {
      const body = 'x! '.repeat(size).slice(0, size);
      const answer = await world().request('/job/large', { method: 'POST', body, headers });
      const id = answer.headers.get('x-run-id') ?? '';
      await until(id, 'succeeded');
      const log = await world().request(`/system/runs/${id}/log`);
      expect((await log.text()).trim().split('\n').at(-1)).toBe(String(size));
    }
  });
}
