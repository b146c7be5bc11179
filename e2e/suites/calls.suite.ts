import { writeFile } from 'node:fs/promises';
import { request as httpRequest } from 'node:http';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { run } from '../support/server.ts';
import { createService, small, tokenOf } from '../support/service.ts';
import { waitFor } from '../support/wait.ts';
import type { World } from '../support/world.ts';

/** Synchronous calls from outside: real scripts, as OSCAR's clients send them. */
export function describeCalls(world: () => World): void {
  const tokens = new Map<string, string>();

  async function service(name: string, script: string, more: Record<string, unknown> = {}): Promise<void> {
    await createService(world(), name, script, { ...small, ...more });
    tokens.set(name, await tokenOf(world(), name));
  }

  const bearer = (name: string): string => `Bearer ${tokens.get(name) ?? ''}`;

  async function call(name: string, init: RequestInit = {}, query = ''): Promise<Response> {
    const headers = new Headers(init.headers);
    headers.set('authorization', bearer(name));
    return fetch(`${world().url}/run/${name}${query}`, { method: 'POST', ...init, headers });
  }

  async function text(name: string, init?: RequestInit): Promise<string> {
    const answer = await call(name, init);
    const body = await answer.text();
    if (answer.status !== 200) throw new Error(`${answer.status} ${body}`);
    return body;
  }

  describe('what a caller sends is the script’s input file', () => {
    beforeAll(async () => service('echo', 'od -An -c "$INPUT_FILE_PATH" | tr -s " " | tr -d "\\n"\n'));

    test('base64 by curl in chunks, as oscar-cli sends it', async () => {
      const done = await run(
        'curl',
        [
          '-sS',
          '-X',
          'POST',
          '-H',
          `Authorization: ${bearer('echo')}`,
          '-H',
          'Transfer-Encoding: chunked',
        ].concat(['--data-binary', '@-', `${world().url}/run/echo`]),
        { input: Buffer.from('hello\u0000').toString('base64') },
      );
      expect(done.stdout).toBe(' h e l l o \\0\n');
    });

    test.each<[string, RequestInit, string]>([
      ['JSON without a content type', { body: Buffer.from('{"a": 1}') }, ' { " a " : 1 }'],
      [
        'a JSON string of base64, as oscar-js sends it',
        {
          body: JSON.stringify(Buffer.from('hi').toString('base64')),
          headers: { 'content-type': 'application/octet-stream' },
        },
        ' h i',
      ],
      [
        'a form, as oscar_python sends a dict',
        { body: new URLSearchParams({ a: '1', b: 'x y' }) },
        ' a = 1 & b = x + y',
      ],
      ['bytes that are no text', { body: Buffer.from([0, 255, 10]) }, ' \\0 377 \\n'],
    ])('%s', async (_name, init, wanted) => {
      expect((await text('echo', init)).trimEnd()).toBe(wanted);
    });

    test.each([
      ['with a length', { 'content-length': '0' }],
      ['without a length', {}],
    ])('an empty body %s', async (_name, headers) => {
      const { promise, resolve, reject } = Promise.withResolvers<number>();
      const request = httpRequest(
        `${world().url}/run/echo`,
        { method: 'POST', headers: { ...headers, authorization: bearer('echo') } },
        (response) => {
          response.resume();
          resolve(response.statusCode ?? 0);
        },
      );
      request.on('error', reject);
      // Node adds a length of its own unless it is told not to.
      if (!('content-length' in headers)) request.removeHeader('content-length');
      request.end();
      expect(await promise).toBe(200);
    });
  });

  describe('what the script makes is the answer', () => {
    test('one file: its bytes in base64, and it is uploaded, too', async () => {
      await service('one', 'printf "\\001\\002" > "$TMP_OUTPUT_DIR/out.bin"; echo not this\n');
      expect(await text('one', { body: 'aGk=' })).toBe('AQI=\n');
      const stored = await world().request('/system/buckets/one/objects/out/out.bin');
      expect([...(await stored.bytes())]).toEqual([1, 2]);
    });

    test('several files: a ZIP in base64', async () => {
      await service(
        'many',
        'mkdir "$TMP_OUTPUT_DIR/d"; echo 1 > "$TMP_OUTPUT_DIR/a"; echo 2 > "$TMP_OUTPUT_DIR/d/b"\n',
      );
      const zip = join(world().files, 'answer.zip');
      await writeFile(zip, Buffer.from(await text('many', { body: 'aGk=' }), 'base64'));
      const list = await run('python3', ['-m', 'zipfile', '-l', zip]);
      expect(list.stdout).toMatch(/^a .*\nd\/b /m);
    });

    test('no file: what it printed, and what the request said', async () => {
      await service('log', 'echo out; echo "$Http_Method $Http_Path $Http_Query $Http_X_Own" >&2\n');
      const answer = await call(
        'log',
        { body: 'aGk=', headers: { 'x-own': 'v', 'content-type': 'text/csv' } },
        '?a=1',
      );
      expect(await answer.text()).toBe('out\nPOST / a=1 v\n\n');
      expect(answer.headers.get('content-type')).toBe('text/csv');
      expect(answer.headers.get('x-duration-seconds')).toMatch(/^\d+\.\d{6}$/);
      expect(answer.headers.get('x-call-id')).toMatch(/^log-/);
    });

    test('a script that fails: 500 with its status and what it printed', async () => {
      await service('fails', 'echo why; exit 7\n');
      const answer = await call('fails', { body: 'aGk=' });
      expect([answer.status, await answer.text()]).toEqual([500, 'exit status 7\nwhy\n']);
    });

    test('a script that takes too long: 408', async () => {
      await service('slow', 'sleep 600\n', { sluice: { timeout: 1 } });
      const answer = await call('slow', { body: 'aGk=' });
      expect([answer.status, await answer.text()]).toEqual([408, 'Killed process.\n']);
    });
  });

  test('a caller that goes ends its script, and the next call is performed', async () => {
    const { gate } = world();
    await service(
      'left',
      `grep -q again "$INPUT_FILE_PATH" && { echo again; exit; }\ntrap '${gate.enter('left-ended')}; exit 1' TERM\n${gate.enter('left-begun')}\nwhile :; do sleep 0.05; done\n`,
      { synchronous: { max_scale: 1 } },
    );
    const gone = new AbortController();
    const first = call('left', { body: 'first!', signal: gone.signal });
    await gate.entered('left-begun');
    gone.abort();
    await expect(first).rejects.toThrow(/abort/i);
    await gate.entered('left-ended');
    expect(await text('left', { body: 'again!' })).toBe('again\n\n');
  });

  test('max_scale bounds scripts side by side; 30 callers all get their answer', async () => {
    const { gate } = world();
    await service(
      'scaled',
      // Each script counts those that run with it.
      `${gate.enter('scaled')}; sleep 0.05; ${gate.leave('scaled')} >/dev/null\n`,
      { synchronous: { max_scale: 2 } },
    );
    const counts = await Promise.all(Array.from({ length: 30 }, () => text('scaled', { body: 'aGk=' })));
    expect(Math.max(...counts.map(Number))).toBe(2);
  });

  interface Deployment {
    readonly state: string;
    readonly active_instances: number;
  }

  async function deployment(name: string): Promise<Deployment> {
    return (await (await world().request(`/system/services/${name}/deployment`)).json()) as Deployment;
  }

  test('min_scale keeps runners; a stopped service refuses calls until it is started', async () => {
    await service('kept', 'echo here\n', { synchronous: { min_scale: 1, max_scale: 1 } });
    await waitFor('a runner without a call', async () => {
      const { state, active_instances: active } = await deployment('kept');
      return (state === 'ready' && active === 1) || undefined;
    });
    expect(await text('kept', { body: 'aGk=' })).toBe('here\n\n');
    expect((await world().request('/system/services/kept/stop', { method: 'POST' })).status).toBe(200);
    const refused = await call('kept', { body: 'aGk=' });
    expect([refused.status, await refused.text()]).toEqual([
      503,
      'The service "kept" is stopped. Start it: POST /system/services/kept/start.',
    ]);
    expect(refused.headers.get('retry-after')).not.toBeNull();
    await waitFor('no runner', async () => (await deployment('kept')).active_instances === 0 || undefined);
    expect((await world().request('/system/services/kept/start', { method: 'POST' })).status).toBe(200);
    expect(await text('kept', { body: 'aGk=' })).toBe('here\n\n');
  });

  test('a new version answers soon after the update, and no call is lost meanwhile', async () => {
    await service('changed', 'echo old\n', { synchronous: { min_scale: 1, max_scale: 2 } });
    expect(await text('changed', { body: 'aGk=' })).toBe('old\n\n');
    const update = await world().request('/system/services', {
      method: 'PUT',
      body: JSON.stringify({
        name: 'changed',
        ...small,
        script: 'echo new\n',
        synchronous: { min_scale: 1, max_scale: 2 },
      }),
    });
    expect(update.status).toBe(204);
    await waitFor('the new script', async () => {
      const said = await text('changed', { body: 'aGk=' });
      expect(['old\n\n', 'new\n\n']).toContain(said);
      return said === 'new\n\n' || undefined;
    });
  });
}
