import { beforeAll, expect, test } from 'vitest';
import { createService, small, tokenOf } from '../support/service.ts';
import { waitFor } from '../support/wait.ts';
import type { World } from '../support/world.ts';

/** What stop, start and restart do to real warm runners (OSCAR §1.6). */
export function describeRuntimeCalls(world: () => World): void {
  let token = '';
  const name = 'talks';

  beforeAll(async () => {
    const script = [
      '#!/bin/sh',
      'echo "said $(cat "$INPUT_FILE_PATH")"',
      `if grep -q wait "$INPUT_FILE_PATH"; then ${world().gate.wait(name)}; fi`,
      '',
    ].join('\n');
    await createService(world(), name, script, { ...small, synchronous: { min_scale: 0, max_scale: 1 } });
    token = await tokenOf(world(), name);
  });

  const call = async (body: string) =>
    world().request(`/run/${name}`, { method: 'POST', body, headers: { authorization: `Bearer ${token}` } });
  const change = async (action: string) =>
    (await world().request(`/system/services/${name}/${action}`, { method: 'POST' })).json();

  interface Deployment {
    readonly state: string;
    readonly active_instances: number;
    readonly resource_kind: string;
  }
  const deployment = async () =>
    (await (await world().request(`/system/services/${name}/deployment`)).json()) as Deployment;
  const until = async (what: string, wanted: (state: Deployment) => boolean) =>
    waitFor(what, async () => {
      const now = await deployment();
      return wanted(now) ? now : undefined;
    });

  test('a warm runner is an instance, and what it prints is in the logs', async () => {
    const answer = await call('hello');
    expect([answer.status, await answer.text()]).toEqual([200, expect.stringContaining('said hello')]);
    const state = await until('the runner to be told of', (now) => now.active_instances === 1);
    expect(state).toMatchObject({ state: 'ready', resource_kind: 'knative_service' });
    const logs = await waitFor('the line in the logs', async () => {
      const read = await world().request(
        `/system/services/${name}/deployment/logs?timestamps=true&tailLines=5`,
      );
      const body = (await read.json()) as { entries: { timestamp: string; message: string }[] };
      return body.entries.length > 0 ? body : undefined;
    });
    expect(logs).toMatchObject({ service_name: name, available: true });
    expect(logs.entries.map(({ message }) => message).join('\n')).toContain('said hello');
    expect(logs.entries[0]?.timestamp).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
  });

  test('a stop ends waiting calls and the runner; the call in hand ends as it would', async () => {
    // Not 'wait', which is base64.
    const active = call('wait!');
    await world().gate.reached('talks');
    const waiting = [call('two'), call('three')];
    expect(await change('stop')).toMatchObject({ state: 'stopped' });
    for (const answer of await Promise.all(waiting)) {
      expect(answer.status).toBe(503);
      expect(await answer.text()).toContain(`POST /system/services/${name}/start`);
    }
    world().gate.open('talks');
    const ended = await active;
    expect([ended.status, await ended.text()]).toEqual([200, expect.stringContaining('said wait!')]);
    await until('the runner to be gone', (now) => now.active_instances === 0);
    expect((await call('late')).status).toBe(503);
  });

  test('a start takes calls again, a restart replaces the runner under them', async () => {
    await change('start');
    expect((await call('again')).status).toBe(200);
    await until('a runner', (now) => now.active_instances === 1);
    await change('restart');
    const answer = await call('after the restart');
    expect([answer.status, await answer.text()]).toEqual([
      200,
      expect.stringContaining('said after the restart'),
    ]);
  });
}
