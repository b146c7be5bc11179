import { connect } from 'node:net';
import { runnerCallHeader, type RunnerCall } from '@sluice/shared/contracts';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createMemoryStore } from './memory-store.ts';
import { callHeader, createRunnerHarness, type OpenRunner, type RunnerHarness } from './runner-support.ts';

let runners: RunnerHarness;
let runner: OpenRunner;

beforeAll(async () => {
  runners = await createRunnerHarness(createMemoryStore(), { bodyBytes: 100_000 });
  runner = runners.open('cat "$INPUT_FILE_PATH"\n');
});
afterAll(async () => {
  await runners.close();
});

/** As bytes: `fetch` would refuse most of it. Status 0 is a connection closed without an answer. */
async function invoke(headers: readonly string[], body = '{}'): Promise<{ status: number; text: string }> {
  const { hostname, port, pathname } = new URL(runner.url);
  const { promise, resolve } = Promise.withResolvers<string>();
  const chunks: Buffer[] = [];
  const lines = [
    `POST ${pathname}/invoke HTTP/1.1`,
    'Host: x',
    'Connection: close',
    `Authorization: Bearer ${runner.token}`,
    `Content-Length: ${body.length}`,
    ...headers,
  ];
  const socket = connect(Number(port), hostname, () => {
    socket.write(Buffer.from(`${lines.join('\r\n')}\r\n\r\n${body}`, 'latin1'));
  });
  socket.on('data', (chunk) => chunks.push(chunk)).on('error', () => undefined);
  socket.on('close', () => resolve(Buffer.concat(chunks).toString('latin1')));
  const text = await promise;
  return { status: Number(/^HTTP\/1\.1 (\d+)/.exec(text)?.[1] ?? 0), text };
}

const packed = (json: string | Buffer): string => Buffer.from(json).toString('base64url');
const call = (): string => Buffer.from(callHeader(), 'base64url').toString();
const withField = (name: string, json: string): string =>
  packed(`${call().slice(0, -1)},${JSON.stringify(name)}:${json}}`);

const fields = ['call_id', 'traceparent', 'timeout_ms', 'method', 'path', 'query', 'headers'];
const wrong = [
  'null',
  'true',
  '[]',
  '1e400',
  '-1',
  '0.5',
  '{"a":1}',
  '[["a"]]',
  `${'['.repeat(9000)}${']'.repeat(9000)}`,
];
const refused: readonly (readonly [what: string, header: string])[] = [
  ['nothing', ''],
  ['no base64', '%%%'],
  ['no JSON', packed('{')],
  ['no UTF-8', packed(Buffer.from([0xff, 0xfe]))],
  ['UTF-16', packed(Buffer.from(call(), 'utf16le'))],
  ['a BOM', packed(`\uFEFF${call()}`)],
  ['bytes', '\xff\xfe'],
  ['a list', packed('[]')],
  ['deep', packed('['.repeat(20_000))],
  ['something after it', packed(`${call()}x`)],
  ['a path as its id', callHeader({ call_id: '../../etc' })],
  ['a line break in its id', callHeader({ call_id: 'a\nb' })],
  ['a long id', callHeader({ call_id: 'a'.repeat(201) })],
  ['__proto__ for a call', packed(`{"__proto__":${call()}}`)],
  ...fields.flatMap((field) =>
    wrong.map((json) => [`${field} = ${json.slice(0, 20)}`, withField(field, json)] as const),
  ),
];

test('a header that is no call is a 400 that names it, and starts nothing', async () => {
  for (const [what, header] of refused) {
    const answer = await invoke([`${runnerCallHeader}: ${header}`]);
    expect(answer.status, `${what}: ${answer.text}`).toBe(400);
    expect(answer.text, what).toContain(runnerCallHeader);
    expect(answer.text, what).not.toContain('x-sluice-result');
  }
  const twice = [`${runnerCallHeader}: ${callHeader()}`, `${runnerCallHeader}: ${callHeader()}`];
  expect((await invoke(twice)).status).toBe(400);
  expect((await invoke([`${runnerCallHeader}: ${'A'.repeat(70_000)}`])).status).toBe(431);
  expect(await runner.invoke('on!')).toMatchObject({ status: 200, text: 'on!\n' });
});

const odd: readonly (readonly [what: string, call: Partial<RunnerCall>])[] = [
  ['NUL everywhere', { method: 'a\0b', path: '/\0', query: '\0', headers: { 'a\0': 'b\0c' } }],
  ['line breaks', { method: 'a\r\nb', headers: { 'content-type': 'a\r\nX-Injected: y', 'x\r\ny': 'z' } }],
  ['half surrogates', { query: '\ud800', headers: { x: '\udfff' } }],
  ['an odd trace', { traceparent: 'x\0\r\n' }],
  ['no trace', { traceparent: '' }],
  ['the longest time', { timeout_ms: Number.MAX_SAFE_INTEGER }],
  ['more than a timer takes', { timeout_ms: 2 ** 31 + 1 }],
  ['names of variables', { headers: { path: '/x', 'ld-preload': '/x', '': 'y', '=': 'z', 'a=b': 'c' } }],
  [
    'names of objects',
    { headers: JSON.parse('{"__proto__":"a","constructor":"b"}') as Record<string, string> },
  ],
  ['a long query', { query: 'a'.repeat(40_000) }],
  ['1000 headers', { headers: Object.fromEntries(Array.from({ length: 1000 }, (_, at) => [`h${at}`, 'x'])) }],
  ['a script in its path', { path: '$(touch /tmp/x)`id`;' }],
];

test.each(odd)('a call with %s is performed, and the next one, too', async (_what, more) => {
  const answer = await invoke([`${runnerCallHeader}: ${callHeader(more)}`], 'body!');
  expect(answer.status, answer.text).toBe(200);
  expect(answer.text).toMatch(/\r\n\r\nbody!\n$/);
  expect(answer.text).not.toMatch(/^x-injected/im);
  expect(await runner.invoke('on!')).toMatchObject({ status: 200, text: 'on!\n' });
});
