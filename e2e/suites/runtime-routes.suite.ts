import { describe, expect, test } from 'vitest';
import { createService, runsOf, small } from '../support/service.ts';
import { waitFor } from '../support/wait.ts';
import type { World } from '../support/world.ts';

/** What is kept about a service's runtime and the installation over restarts (OSCAR §1.6 to §1.11). */
export function describeRuntimeRoutes(world: () => World): void {
  const post = async (path: string) => world().request(path, { method: 'POST' });
  const json = async (path: string): Promise<unknown> => (await world().request(path)).json();

  describe('a stopped service', () => {
    test('still runs files, and stays stopped over a restart of the server', async () => {
      await createService(world(), 'stopped', '#!/bin/sh\ncp "$INPUT_FILE_PATH" "$TMP_OUTPUT_DIR"\n', small);
      expect(await (await post('/system/services/stopped/stop')).json()).toMatchObject({ state: 'stopped' });
      await world().restart();
      expect(await json('/system/services/stopped/deployment')).toMatchObject({ state: 'stopped' });
      expect(await json('/system/services/stopped?include=deployment')).toMatchObject({
        deployment: { state: 'stopped' },
      });
      const put = await world().request('/system/buckets/stopped/objects/in/a.txt', {
        method: 'PUT',
        body: 'a',
      });
      expect(put.status).toBe(201);
      await waitFor('the file to be run', async () => {
        const [run] = await runsOf(world(), 'stopped');
        return run?.state === 'succeeded' ? run : undefined;
      });
      expect((await world().request('/system/buckets/stopped/objects/out/a.txt')).status).toBe(200);
      expect((await post('/system/services/stopped/start')).status).toBe(200);
      expect(await json('/system/services/stopped/deployment')).not.toMatchObject({ state: 'stopped' });
    });
  });

  describe('the list of allowed images', () => {
    const setList = async (list: readonly string[]) =>
      world().request('/system/config', {
        method: 'PUT',
        body: JSON.stringify({ allowed_image_repositories: list }),
      });

    test('outlives the server, killed or not', async () => {
      expect((await setList(['ghcr.io/example'])).status).toBe(200);
      await world().restart('SIGKILL');
      expect(await json('/system/config')).toMatchObject({ allowed_image_repositories: ['ghcr.io/example'] });
      await expect(
        createService(world(), 'refused', 'true', { image: 'ghcr.io/example-evil/x' }),
      ).rejects.toThrow('image: image ghcr.io/example-evil/x is not allowed for pull on the cluster.');
      await createService(world(), 'allowed', 'true', { image: 'ghcr.io/example/x:1' });
      expect((await setList([])).status).toBe(200);
    });
  });
}
