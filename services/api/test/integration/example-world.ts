import { echo } from './calls-fixture.ts';
import { fakeRunner, sayRunners } from './fake-runner.ts';
import { adminHeader, startFixture, type Fixture } from './fixture.ts';
import { memoryDesk, type MemoryDesk } from './memory-desk.ts';

/** An api in which everything exists that the examples of the routes speak of. */
export async function startExampleWorld(): Promise<{ readonly api: Fixture; readonly token: string }> {
  const builds = exampleBuilds();
  const api = await startFixture({ deps: () => ({ builds }) });
  const done = async (method: string, path: string, call: Parameters<Fixture['call']>[2]): Promise<void> => {
    const answer = await api.call(method, path, call);
    if (answer.status >= 300) throw new Error(`${method} ${path}: ${answer.status} ${answer.text}`);
  };
  await done('POST', '/system/buckets', { body: '{"bucket_name":"photos"}' });
  await done('PUT', '/system/buckets/photos/objects/in/photo.jpg', { body: 'hello world' });
  const token = await api.service('thumbnail');
  for (const id of ['thumbnail-5b2e', 'thumbnail-7c41']) {
    await done('POST', '/job/thumbnail', { as: token, headers: { 'x-delegated-job-id': id } });
  }
  await api.bring('thumbnail-5b2e', 'succeeded');
  await api.bring('thumbnail-7c41', 'running');
  const log = await api.logs.open({ service: 'thumbnail', runId: 'thumbnail-5b2e' });
  await log.write(Buffer.from('resizing photo.jpg\ndone\n'));
  await log.close();
  await api.bus.deadLetters.put(
    {
      id: 'thumbnail-5b2e.1.start',
      name: 'runs.start',
      key: 'thumbnail',
      payload: { run_id: 'thumbnail-5b2e', service: 'thumbnail', attempt: 1 },
    },
    { consumer: 'scheduler-start', reason: 'the service has no script' },
  );
  const { close } = await startRunner(api);
  return {
    token,
    api: {
      ...api,
      close: async () => {
        await close();
        await api.close();
      },
    },
  };
}

function exampleBuilds(): MemoryDesk {
  const desk = memoryDesk();
  const id = '550e8400-e29b-41d4-a716-446655440000';
  const at = Date.parse('2026-01-02T03:04:31.345Z');
  desk.put({ id, user: 'oscar', state: 'succeeded', digest: 'sha256:1', started_at: at, ended_at: at });
  desk.put({ id: '7d444840-9dc0-41d1-b245-5ffdce74fad2', user: 'oscar', state: 'running', started_at: at });
  desk.log(id, '2026-01-02T03:04:07.101Z #5 collecting numpy\n', true);
  desk.image('oscar', { tag: 'numpy', used_by: ['thumbnail'] });
  return desk;
}

async function startRunner(api: Fixture): Promise<{ close(): Promise<void> }> {
  const uid = (await api.definitions.get('thumbnail'))?.uid ?? '';
  const runner = await fakeRunner('thumbnail-r1', echo);
  sayRunners(api.bus, { name: 'thumbnail', uid }, [runner.entry]);
  return runner;
}

/** A presigned URL of the object that the examples speak of, as a path. */
export async function presign(
  api: Fixture,
  operation: 'upload' | 'download',
  body: { readonly bucket: string; readonly key: string },
): Promise<string> {
  const answer = await api.call('POST', `/system/buckets/${body.bucket}/presign`, {
    headers: { authorization: adminHeader },
    body: JSON.stringify({ object_key: body.key, operation }),
  });
  const { url } = answer.json() as { url: string };
  const { pathname, search } = new URL(url);
  return `${pathname}${search}`;
}
