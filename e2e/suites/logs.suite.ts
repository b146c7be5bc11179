import { expect, test } from 'vitest';
import { createService, runOf, small, tokenOf } from '../support/service.ts';
import { waitFor } from '../support/wait.ts';
import type { World } from '../support/world.ts';

/** What a run prints: readable while it runs, and after all that ran it is gone, by the same routes. */
export function describeLogs(world: () => World): void {
  const name = 'prints';

  test('a log is read while the script prints, followed to its end, and kept after its pod is deleted', async () => {
    const { gate } = world();
    const lines = ['one', 'two', 'three'];
    const script = lines.map((line) => `echo ${line}\n${gate.wait(`prints-${line}`)}\n`).join('');
    await createService(world(), name, `${script}echo to the end >&2\n`, small);
    const headers = { authorization: `Bearer ${await tokenOf(world(), name)}` };
    const taken = await world().request(`/job/${name}`, { method: 'POST', body: 'x', headers });
    const id = taken.headers.get('x-run-id') ?? '';
    const ofJob = async (): Promise<string> => (await world().request(`/system/logs/${name}/${id}`)).text();
    const ofRun = async (): Promise<string> => (await world().request(`/system/runs/${id}/log`)).text();

    await gate.reached('prints-one');
    const following = world().sluice('run', 'logs', id, '-f');
    const seen: string[] = [];
    for (const line of lines) {
      seen.push(line);
      const text = `${seen.join('\n')}\n`;
      await waitFor(`${line} in the log`, async () => (await ofJob()) === text || undefined);
      expect(await ofRun()).toBe(text);
      expect((await runOf(world(), id)).state).toBe('running');
      gate.open(`prints-${line}`);
    }
    const whole = 'one\ntwo\nthree\nto the end\n';
    const followed = await following;
    expect([followed.code, followed.stdout]).toEqual([0, whole]);
    await waitFor(
      'the run to end',
      async () => (await runOf(world(), id)).state === 'succeeded' || undefined,
    );
    expect([await ofJob(), await ofRun()]).toEqual([whole, whole]);
    await world().removePods(name);
    expect([await ofJob(), await ofRun()]).toEqual([whole, whole]);
  });
}
