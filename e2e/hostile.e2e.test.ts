import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { mkdir, readFile, rename, symlink, unlink, writeFile } from 'node:fs/promises';
import net from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createService, runOf, runsOf, tokenOf, type RunView } from './support/service.ts';
import { removeFolder, startServer, tempFolder, type Server } from './support/server.ts';
import { waitFor } from './support/wait.ts';

// One server for all of them: each test also shows that it got over the one before.
let data: string;
let outside: string;
let server: Server;
const small = { cpu: '0.01', memory: '1Mi' };

beforeAll(async () => {
  data = await tempFolder();
  outside = await tempFolder();
  server = await startServer({ data, env: { SLUICE_SETTLE_MS: '200', SLUICE_RECONCILE_INTERVAL: '2' } });
  await createService(server, 'target', 'cat "$INPUT_FILE_PATH"\n', small);
});
afterAll(async () => {
  await server.stop('SIGKILL');
  for (const folder of [data, outside]) await removeFolder(folder);
});

interface Answer {
  readonly status: number;
  readonly head: string;
  readonly body: string;
}

/** Sends bytes as they are: `fetch` would mend most of what is wrong with them. Status 0 is a connection closed without an answer. */
async function send(bytes: string | Buffer): Promise<Answer> {
  const { promise, resolve } = Promise.withResolvers<string>();
  const chunks: Buffer[] = [];
  const socket = net.connect(Number(new URL(server.url).port), '127.0.0.1', () => socket.write(bytes));
  socket.on('data', (chunk) => chunks.push(chunk)).on('error', () => undefined);
  socket.on('close', () => {
    resolve(Buffer.concat(chunks).toString('latin1'));
  });
  socket.setTimeout(5000, () => socket.destroy());
  const text = await promise;
  const [head = '', ...rest] = text.split('\r\n\r\n');
  return { status: Number(/^HTTP\/1\.1 (\d+)/.exec(text)?.[1] ?? 0), head, body: rest.join('\r\n\r\n') };
}

const basic = (): string =>
  `Basic ${Buffer.from(`${server.username}:${server.password}`).toString('base64')}`;

async function request(
  method: string,
  path: string,
  body?: string | Buffer,
  login = basic(),
): Promise<Answer> {
  const bytes = body === undefined ? Buffer.alloc(0) : Buffer.from(body);
  const length = body === undefined ? '' : `Content-Length: ${bytes.length}\r\n`;
  const head = `${method} ${path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: ${login}\r\n${length}\r\n`;
  return send(Buffer.concat([Buffer.from(head, 'latin1'), bytes]));
}

async function submit(service: string, body: string | Buffer = '{}'): Promise<string> {
  const answer = await request('POST', `/job/${service}`, body, `Bearer ${await tokenOf(server, service)}`);
  expect(answer.status).toBe(201);
  return /^x-run-id: (.*)$/im.exec(answer.head)?.[1]?.trim() ?? '';
}

const ended = (id: string): Promise<RunView> =>
  waitFor(`run ${id} to end`, async () => {
    const run = await runOf(server, id);
    return ['queued', 'starting', 'running'].includes(run.state) ? undefined : run;
  });

async function quiet(): Promise<void> {
  await waitFor('no run to be under way', async () => {
    const answer = await server.request('/system/overview');
    const { runs } = (await answer.json()) as { runs: Record<string, number> };
    return runs['queued'] === 0 && runs['starting'] === 0 && runs['running'] === 0 ? true : undefined;
  });
}

const status = async (): Promise<{ memory: number; files: number }> => ({
  memory:
    Number(/VmRSS:\s+(\d+)/.exec(await readFile(`/proc/${server.process.pid}/status`, 'utf8'))?.[1] ?? '0') /
    1000,
  files: readdirSync(`/proc/${server.process.pid}/fd`).length,
});

const inBucket = (bucket: string, ...parts: string[]): string => join(data, 'buckets', bucket, ...parts);

describe('hostile requests', () => {
  /** Sluice's own routes; OSCAR's answer in plain text, as OSCAR does. */
  const own = /^\/system\/(runs|dead-letters|overview|services\/[^/]+\/backfill|buckets\/[^/]+\/objects)/;
  const names =
    `.. %2e%2e ..%2f..%2fetc %00 a%00b %ff%fe %F0%9F%98%80 A __proto__ constructor %0a %0d%0aX:%20y x%20 %5c..%5c *`
      .split(' ')
      .concat('a'.repeat(300), 'a'.repeat(6000));
  const templates: readonly (readonly [string, string, string?])[] = [
    ...(['GET', 'DELETE'] as const).flatMap((method) =>
      ['/system/services/@', '/system/buckets/@', '/system/logs/@', '/system/logs/target/@'].map(
        (path) => [method, path] as const,
      ),
    ),
    ['POST', '/system/buckets/@/presign', '{"object_key":"in/a","operation":"upload"}'],
    ['POST', '/job/@', '{}'],
    ['GET', '/system/runs/@'],
    ['GET', '/system/runs/@/log'],
    ['POST', '/system/runs/@/cancel'],
    ['POST', '/system/runs/@/retry'],
    ['POST', '/system/services/@/backfill', '{}'],
    ['POST', '/system/dead-letters/@/redrive'],
    ['GET', '/system/buckets/@/objects'],
    ['GET', '/system/buckets/target/objects/@'],
    ['DELETE', '/system/buckets/target/objects/@'],
    ['PUT', '/system/buckets/@/objects/key', 'x'],
    ['PUT', '/objects/target/@', 'x'],
  ];
  const queries =
    'limit=0 limit=-1 limit=1e9 limit= limit=1&limit=2 limit[a]=1 cursor=%00 cursor=AAAA state=bogus service=%00 bucket=..&key=.. bucket=x prefix=%00 after=%ff offset=-1 __proto__[x]=1'
      .split(' ')
      .concat(`cursor=${'A'.repeat(3000)}`, `state=${'failed,'.repeat(500)}`);
  const deep = 50_000;
  const bodies: readonly (string | Buffer)[] = [
    '',
    'null',
    '[]',
    '0',
    '"x"',
    'true',
    '{',
    '\uFEFF{}',
    '{"name":1}',
    '{"name":{"$gt":""}}',
    '{"__proto__":{"x":1}}',
    '{"name":"a","NAME":"b"}',
    '{"a":1e999}',
    '{"a":"\\ud800"}',
    '{"prefix":1}',
    '{"prefix":".."}',
    '{"again":"yes"}',
    '{"object_key":"../x","operation":"upload"}',
    '['.repeat(deep) + ']'.repeat(deep),
    `${'{"a":'.repeat(deep)}1${'}'.repeat(deep)}`,
    Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d]),
    `{"name":"${'a'.repeat(1_000_000)}"}`,
  ];

  function check(what: string, path: string, answer: Answer): void {
    expect(answer.status, what).toBeGreaterThanOrEqual(200);
    expect(answer.status, what).toBeLessThan(500);
    if (answer.status === 400 && own.test(path)) expect(answer.body, what).toContain('"field":');
  }

  test('more than 400 of them: no 5xx, the field is named, and memory stays bounded', async () => {
    const before = await status();
    let count = 0;
    const attempt = async (method: string, path: string, body?: string | Buffer): Promise<void> => {
      count += 1;
      const shown = `${method} ${path.slice(0, 100)} ${String(body ?? '').slice(0, 60)}`;
      check(shown, path, await request(method, path, body));
    };
    for (const [method, template, body] of templates) {
      for (const name of names) await attempt(method, template.replace('@', name), body);
    }
    const lists = ['/system/runs', '/system/dead-letters', '/system/buckets/target/objects'];
    for (const path of lists) for (const query of queries) await attempt('GET', `${path}?${query}`);
    const posts = ['/system/services', '/system/buckets', '/system/buckets/target/presign'];
    for (const path of [...posts, '/system/services/target/backfill']) {
      for (const body of bodies) await attempt('POST', path, body);
    }
    await quiet();
    expect(count).toBeGreaterThan(400);
    expect((await status()).memory).toBeLessThan(before.memory + 250);
    expect((await request('GET', '/health')).body).toBe('Ok');
  });

  test('bytes that are hardly HTTP are refused, and what follows them is not taken for a request', async () => {
    const login = `Host: x\r\nConnection: close\r\nAuthorization: ${basic()}\r\n`;
    const post = `POST /system/services HTTP/1.1\r\n${login}`;
    const smuggled = 'GET /system/overview HTTP/1.1\r\nHost: x\r\n\r\n';
    const cases: readonly (readonly [string | Buffer, number])[] = [
      [`${post}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n${smuggled}`, 400],
      [`${post}Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}`, 400],
      [`${post}Content-Length: -1\r\n\r\n{}`, 400],
      [`${post}Transfer-Encoding: chunked\r\n\r\nZZ\r\n{}\r\n0\r\n\r\n`, 400],
      [`GET /health HTTP/1.1\r\n${login}X: ${'a'.repeat(20_000)}\r\n\r\n`, 431],
      [`GET /health HTTP/1.1\r\n${login}X: a\0b\r\n\r\n`, 400],
      [Buffer.from([0x16, 3, 1, 0, 200, 1, 0, 0, 0xc4, 3, 3]), 400],
      [`TRACE /system/runs HTTP/1.1\r\n${login}\r\n`, 404],
      [`GET /health/../system/overview HTTP/1.1\r\n${login}\r\n`, 404],
    ];
    for (const [bytes, expected] of cases) {
      const answer = await send(bytes);
      expect(answer.status, String(bytes).slice(0, 60)).toBe(expected);
      expect(answer.body).not.toContain('"adapters"');
    }
  });

  test('uploads that break off leave no object, no file and no descriptor', async () => {
    const before = await status();
    const head = `HTTP/1.1\r\nHost: x\r\nAuthorization: ${basic()}\r\n`;
    const broken = Array.from({ length: 40 }, async (_, index) => {
      const socket = net.connect(Number(new URL(server.url).port), '127.0.0.1').on('error', () => undefined);
      const length = index % 2 === 0 ? 'Content-Length: 100000' : 'Transfer-Encoding: chunked';
      socket.write(`PUT /system/buckets/target/objects/in/b${index} ${head}${length}\r\n\r\n5\r\nhello\r\n`);
      await delay(50 + index);
      socket.destroy();
    });
    await Promise.all(broken);
    await waitFor('descriptors to be closed', async () =>
      (await status()).files <= before.files + 2 ? true : undefined,
    );
    const listed = await request('GET', '/system/buckets/target/objects?prefix=in/b');
    expect(listed.body).toContain('{"objects":[]}');
    expect(readdirSync(join(data, 'tmp')).filter((name) => name.startsWith('put-'))).toEqual([]);
  });

  test('presigned URLs and tokens are good for what they were made for and nothing else', async () => {
    await createService(server, 'other', 'true\n', small);
    await request('PUT', '/system/buckets/target/objects/doc', 'hello');
    const wanted = JSON.stringify({ object_key: 'doc', operation: 'download', expires_in: 60 });
    const made = await request('POST', '/system/buckets/target/presign', wanted);
    const path = (JSON.parse(made.body) as { url: string }).url.slice(server.url.length);
    expect((await request('GET', path, undefined, '-')).body).toBe('hello');
    const changes: readonly (readonly [string | RegExp, string])[] = [
      ['/doc', '/docs'],
      ['/target/', '/other/'],
      [/Expires=\d+/, 'Expires=9999999999'],
      [/Signature=../, 'Signature=00'],
      ['/doc', '/x/../doc'],
      ['/doc', '/%2e/doc'],
      [/$/, '&X-Sluice-Content-Type=text/html'],
      [/$/, '&x=y'],
    ];
    for (const [from, to] of changes) {
      const answer = await request('GET', path.replace(from, to), undefined, '-');
      expect(answer.status, to).toBe(403);
    }
    for (const method of ['PUT', 'DELETE', 'POST']) {
      expect([403, 404]).toContain((await request(method, path, 'x', '-')).status);
    }
    const own = await submit('other');
    const token = `Bearer ${await tokenOf(server, 'target')}`;
    for (const [method, route, expected] of [
      ['GET', `/system/runs/${own}`, 404],
      ['GET', `/system/runs/${own}/log`, 404],
      ['POST', `/system/runs/${own}/cancel`, 404],
      ['POST', '/job/other', 401],
      ['POST', '/job/target%2f..%2fother', 401],
      ['GET', '/system/overview', 401],
      ['GET', '/system/buckets/target/objects/doc', 401],
    ] as const) {
      expect((await request(method, route, undefined, token)).status, route).toBe(expected);
    }
  });
});

describe('hostile folders', () => {
  test('links, pipes and devices are no objects, and nothing outside is read or written', async () => {
    await createService(server, 'odd', 'cat "$INPUT_FILE_PATH"\n', small);
    await writeFile(join(outside, 'secret'), 'outside');
    await symlink(join(outside, 'secret'), inBucket('odd', 'in/link'));
    await symlink(outside, inBucket('odd', 'in/folder'));
    await symlink(outside, join(data, 'buckets/linked'));
    execFileSync('mkfifo', [inBucket('odd', 'in/pipe')]);
    execFileSync('sh', ['-c', 'touch "$(printf "new\\nline")" "$(printf "bad\\377")" "a b+%2e"'], {
      cwd: inBucket('odd', 'in'),
    });
    const keys = await waitFor('the two files with odd names', async () => {
      const runs = await runsOf(server, 'odd', 'succeeded');
      return runs.length < 2 ? undefined : new Set(runs.map((run) => run.input?.key));
    });
    expect(keys).toEqual(new Set(['in/a b+%2e', 'in/new\nline']));
    for (const key of ['in/link', 'in/folder/secret', 'in/pipe']) {
      expect((await request('GET', `/system/buckets/odd/objects/${key}`)).status, key).toBe(404);
      expect((await request('PUT', `/system/buckets/odd/objects/${key}`, 'x')).status, key).toBe(400);
    }
    expect((await request('GET', '/system/buckets/linked/objects/secret')).status).toBe(404);
    expect((await request('DELETE', '/system/services/odd')).status).toBe(204);
    expect(await readFile(join(outside, 'secret'), 'utf8')).toBe('outside');
  });

  test('a bucket that becomes a link while its runs are under way gets no output elsewhere', async () => {
    await createService(server, 'swapped', 'sleep 1; echo x > "$TMP_OUTPUT_DIR/o"\n', small);
    const id = await submit('swapped');
    await waitFor('it to run', async () =>
      (await runOf(server, id)).state === 'running' ? true : undefined,
    );
    await mkdir(join(outside, 'out'));
    await rename(inBucket('swapped'), inBucket('swapped-old'));
    await symlink(outside, inBucket('swapped'));
    expect(await ended(id)).toMatchObject({ state: 'failed', failure: { code: 'output_failed' } });
    expect(readdirSync(join(outside, 'out'))).toEqual([]);
    await unlink(inBucket('swapped'));
  });
});

describe('hostile scripts', () => {
  test('one that stops or kills the process that starts scripts does not stop the others', async () => {
    await createService(server, 'stopper', 'kill -STOP $PPID; echo on\n', small);
    await createService(server, 'killer', 'kill -9 $PPID\n', { ...small, sluice: { infra_retries: 0 } });
    await createService(server, 'innocent', 'sleep 1; echo done\n', small);
    const stopped = await ended(await submit('stopper'));
    expect(stopped.state).toBe('succeeded');
    const innocent = await submit('innocent');
    await waitFor('it to run', async () =>
      (await runOf(server, innocent)).state === 'running' ? true : undefined,
    );
    await submit('killer');
    expect(await ended(innocent)).toMatchObject({ state: 'succeeded', exit_code: 0 });
    await server.request('/system/services/killer', { method: 'DELETE' });
  });

  test('one that removes the folders of the server is on its own', async () => {
    await createService(server, 'remover', 'cd "$TMP_OUTPUT_DIR/../../.." && rm -rf tmp work\n', small);
    await ended(await submit('remover'));
    await createService(server, 'after', 'echo x > "$TMP_OUTPUT_DIR/o"\n', small);
    const answer = await request('PUT', '/system/buckets/after/objects/in/a', 'a');
    expect(answer.status).toBe(201);
    const run = await waitFor('its run', async () => (await runsOf(server, 'after', 'succeeded'))[0]);
    expect(run.outputs).toMatchObject([{ bucket: 'after', key: 'out/o' }]);
  });

  test('seven megabytes in base64 reach it whole', async () => {
    await createService(server, 'large', 'wc -c < "$INPUT_FILE_PATH"\n', small);
    const id = await submit('large', Buffer.alloc(7_500_000, 'hello ').toString('base64'));
    expect(await ended(id)).toMatchObject({ state: 'succeeded', attempt: 1 });
    expect(await (await server.request(`/system/runs/${id}/log`)).text()).toContain('7500000');
  });

  test('two services that feed each other stop after 16 hops, and it can be seen', async () => {
    const copy = 'cp "$INPUT_FILE_PATH" "$TMP_OUTPUT_DIR"\n';
    const path = (name: string) => [{ storage_provider: 'minio.default', path: `ring/${name}` }];
    await createService(server, 'ring-a', copy, { ...small, input: path('a'), output: path('b') });
    const back = { ...small, input: path('b'), output: path('a') };
    await expect(createService(server, 'ring-b', copy, back)).rejects.toThrow('allow_loop');
    await createService(server, 'ring-b', copy, { ...back, sluice: { allow_loop: true } });
    await request('PUT', '/system/buckets/ring/objects/a/f', 'x');
    await waitFor('the dead letter', async () => {
      const answer = await server.request('/system/dead-letters');
      return (await answer.text()).includes('more than 16 services') ? true : undefined;
    });
    await quiet();
    const runs = [...(await runsOf(server, 'ring-a')), ...(await runsOf(server, 'ring-b'))];
    expect(runs).toHaveLength(17);
  });
});

test('a server that is stopped for a while goes on where it was', async () => {
  await createService(server, 'patient', 'sleep 1; echo x > "$TMP_OUTPUT_DIR/$SLUICE_RUN_ID"\n', small);
  const ids = await Promise.all(Array.from({ length: 5 }, async () => submit('patient')));
  const client = spawn('kill', ['-STOP', String(server.process.pid)]);
  await once(client, 'exit');
  await writeFile(inBucket('patient', 'in/while-stopped'), 'x');
  await delay(2500);
  server.process.kill('SIGCONT');
  for (const id of ids) expect(await ended(id)).toMatchObject({ state: 'succeeded', attempt: 1 });
  await waitFor('the file that came meanwhile', async () => {
    const runs = await runsOf(server, 'patient', 'succeeded');
    return runs.some((run) => run.input?.key === 'in/while-stopped') ? true : undefined;
  });
  const errors = server
    .stderr()
    .split('\n')
    .filter((line) => line.includes('"level":50'));
  expect(errors.filter((line) => !line.includes('script helper ended'))).toEqual([]);
});
