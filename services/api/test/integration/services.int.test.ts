import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startFixture, type Fixture } from './fixture.ts';

let api: Fixture;
beforeAll(async () => {
  api = await startFixture();
});
afterAll(async () => api.close());

const own = (path: string) => ({ storage_provider: 'minio.default', path });
const body = (name: string, extra: object = {}) =>
  JSON.stringify({
    name,
    image: 'ghcr.io/example/demo',
    script: 'true\n',
    input: [own(`${name}/in`)],
    output: [own(`${name}/out`)],
    ...extra,
  });
const create = async (name: string, extra: object = {}) =>
  api.call('POST', '/system/services', { body: body(name, extra) });
const read = async (name: string) =>
  (await api.call('GET', `/system/services/${name}`)).json() as Record<string, unknown> & { token: string };
const tags = async (bucket: string) => (await api.objects.getBucket(bucket))?.tags;

describe('OSCAR §12.4, 2: create, read, update, delete', () => {
  test('codes, bodies, and the bytes of OSCAR §12.1', async () => {
    const demo = body('demo', {
      log_level: 'CRITICAL',
      input: [own('in')],
      output: [{ ...own('demo/out'), suffix: ['.png'] }],
      script: '#!/bin/sh\ncp "$INPUT_FILE_PATH" "$TMP_OUTPUT_DIR"\n',
      environment: { Variables: { A: '1' }, secrets: { KEY: 'geheim' } },
    });
    const created = await api.call('POST', '/system/services', { body: demo });
    expect([created.status, created.text, created.headers['content-length']]).toEqual([201, '', '0']);
    expect(created.headers['x-sluice-warning']).toBe('image is not used: ghcr.io/example/demo');

    const again = await api.call('POST', '/system/services', { body: demo });
    expect([again.status, again.text]).toEqual([400, 'A service with the provided name already exists']);

    const shown = await api.call('GET', '/system/services/demo');
    expect([shown.status, shown.headers['content-type']]).toEqual([200, 'application/json; charset=utf-8']);
    const { token } = shown.json() as { token: string };
    expect(token).toMatch(/^[0-9a-f]{64}$/);
    expect(shown.text).toBe(
      [
        '{"name":"demo","cluster_id":"","memory":"256Mi","cpu":"0.2","total_memory":"","total_cpu":"","ephemeral_storage_request":"",',
        '"enable_gpu":false,"enable_sgx":false,"image_prefetch":false,"synchronous":{"min_scale":0,"max_scale":0},"log_level":"CRITICAL",',
        `"image":"ghcr.io/example/demo","alpine":false,"token":"${token}","file_stage_in":false,`,
        '"input":[{"storage_provider":"minio.default","path":"demo/in"}],',
        '"output":[{"storage_provider":"minio.default","path":"demo/out","suffix":[".png"]}],',
        String.raw`"script":"#!/bin/sh\ncp \"$INPUT_FILE_PATH\" \"$TMP_OUTPUT_DIR\"\n",`,
        '"expose":{"min_scale":0,"max_scale":0,"cpu_threshold":0,"rewrite_target":false,"default_command":false,"set_auth":false,"health_path":""},',
        '"environment":{"variables":{"A":"1"},"secrets":{"KEY":""}},"annotations":{},"vo":"",',
        '"labels":{"applicationId":"demo","oscar.grycap/user-service":"true","oscar_service":"demo","owner_name":"oscar","queue":"root.oscar-queue.demo"},',
        '"storage_providers":{"minio":{"default":{"endpoint":"https://minio-service.minio:9000","verify":true,"access_key":"hidden","secret_key":"hidden","region":"us-east-1"}}},',
        '"owner":"cluster_admin","namespace":"oscar-svc","interlink_node_name":"","visibility":"private","allowed_users":[],"isolation_level":"","bucket_list":[],',
        '"mount":{"storage_provider":"","path":""},"volume_status":{"enabled":false}}',
      ].join(''),
    );

    const listed = await api.call('GET', '/system/services');
    expect(listed.text).toBe(`[${shown.text}]`);
    const summary = await api.call('GET', '/system/services?include=x,Deployment');
    expect(summary.text).toContain('"volume_status":{"enabled":false},"deployment":{"state":"unavailable",');

    const updated = await api.call('PUT', '/system/services', { body: demo });
    expect([updated.status, updated.text, updated.headers['x-sluice-warning']]).toEqual([
      204,
      '',
      'image is not used: ghcr.io/example/demo',
    ]);
    expect((await api.call('GET', '/system/services/demo')).text).toBe(shown.text);

    const deleted = await api.call('DELETE', '/system/services/demo');
    expect([deleted.status, deleted.text]).toEqual([204, '']);
    for (const method of ['GET', 'DELETE']) {
      const missing = await api.call(method, '/system/services/demo');
      expect([missing.status, missing.text]).toEqual([404, '']);
    }
    expect((await api.call('GET', '/system/services')).text).toBe('[]');
    const absent = await api.call('PUT', '/system/services', { body: demo });
    expect([absent.status, absent.text]).toEqual([404, '']);
    const odd = await api.call('GET', '/system/services/-odd');
    expect([odd.status, odd.text]).toEqual([400, 'invalid serviceName']);
  });

  test('the list is whole when it has several pages', async () => {
    const names = Array.from({ length: 105 }, (_, index) => `many-${String(index).padStart(3, '0')}`);
    await Promise.all(names.map(async (name) => create(name, { input: [], output: [] })));
    const list = (await api.call('GET', '/system/services')).json() as { name: string }[];
    expect(list.map(({ name }) => name)).toEqual(names);
    await Promise.all(names.map(async (name) => api.call('DELETE', `/system/services/${name}`)));
  });

  test('of many creating one name at once, one wins', async () => {
    const answers = await Promise.all(Array.from({ length: 8 }, async () => create('race')));
    expect(answers.filter(({ status }) => status === 201)).toHaveLength(1);
    expect(answers.filter(({ status }) => status === 400)).toHaveLength(7);
    expect(new Set(answers.map(({ text }) => text))).toEqual(
      new Set(['', 'A service with the provided name already exists']),
    );
  });

  test('updates at once all hold, one after the other', async () => {
    await create('busy');
    const answers = await Promise.all(
      [1, 2].map(async (cpu) =>
        api.call('PUT', '/system/services', { body: body('busy', { cpu: String(cpu) }) }),
      ),
    );
    expect(answers.map(({ status }) => status)).toEqual([204, 204]);
    expect((await api.definitions.get('busy'))?.version).toBe(3);
  });
});

describe('buckets of a service', () => {
  test('are made with folders and tags; floors start in the store’s clock', async () => {
    const before = await api.objects.now();
    await create('tagged', { input: [own('tagged/in'), own('shared/a')], output: [own('tagged/out/deep')] });
    expect(await tags('tagged')).toEqual({ owner: '', from_service: 'tagged', owner_name: 'oscar' });
    expect(await api.objects.head('tagged', 'in/')).toMatchObject({ size: 0 });
    expect(await api.objects.head('tagged', 'out/deep/')).toMatchObject({ size: 0 });
    const stored = await api.definitions.get('tagged');
    const floors = await api.definitions.floors(stored?.uid ?? '');
    expect(floors.map(({ bucket, prefix }) => `${bucket}/${prefix}`).sort()).toEqual([
      'shared/a/',
      'tagged/in/',
    ]);
    expect(floors.every(({ at }) => at >= before)).toBe(true);
  });

  test('an update sets floors for new inputs only', async () => {
    await create('floors');
    const uid = (await api.definitions.get('floors'))?.uid ?? '';
    const [first] = await api.definitions.floors(uid);
    await api.call('PUT', '/system/services', {
      body: body('floors', { input: [own('floors/in'), own('floors/more')] }),
    });
    const after = await api.definitions.floors(uid);
    expect(after).toContainEqual(first);
    expect(after.map(({ prefix }) => prefix).sort()).toEqual(['in/', 'more/']);
    expect(await api.objects.head('floors', 'more/')).toBeDefined();
  });

  test('go with the service, with what is in them', async () => {
    await create('gone');
    await api.objects.put('gone', 'out/result', Buffer.from('x'));
    expect((await api.call('DELETE', '/system/services/gone')).status).toBe(204);
    expect(await api.objects.getBucket('gone')).toBeUndefined();
  });

  test('stay on request, when another service uses them, when this service did not make them', async () => {
    await create('keep');
    expect((await api.call('DELETE', '/system/services/keep?keep_buckets=true')).status).toBe(204);
    expect(await api.objects.getBucket('keep')).toBeDefined();

    await create('maker');
    await create('user', { input: [own('maker/out')], output: [own('user/out')] });
    await api.call('DELETE', '/system/services/maker');
    expect(await api.objects.getBucket('maker')).toBeDefined();
    await api.call('DELETE', '/system/services/user');
    expect(await api.objects.getBucket('maker')).toBeDefined();
    expect(await api.objects.getBucket('user')).toBeUndefined();

    await api.objects.createBucket('mine', {});
    await create('guest', { input: [own('mine/in')], output: [] });
    await api.call('DELETE', '/system/services/guest');
    expect(await api.objects.getBucket('mine')).toBeDefined();
  });

  test('deleting cancels what is under way', async () => {
    const token = await api.service('under-way');
    const id = (await api.call('POST', '/job/under-way', { as: token })).headers['x-run-id'] as string;
    await api.bring(id, 'running');
    await api.call('DELETE', '/system/services/under-way');
    expect((await api.ledger.get(id))?.cancel_requested_at).toBeGreaterThan(0);
    expect((await api.call('POST', '/job/under-way', { as: token })).status).toBe(401);
  });
});

describe('OSCAR §12.4, 3 and 4', () => {
  test('ports as a number or a list, capitalised Variables', async () => {
    const answer = await create('ports', {
      EXPOSE: { api_port: 5000, nodePort: 0 },
      environment: { Variables: { X: 'y' } },
    });
    expect([answer.status, answer.headers['x-sluice-warning']]).toEqual([
      201,
      expect.stringContaining('expose is stored but not served'),
    ]);
    expect((await api.call('GET', '/system/services/ports')).text).toContain(
      '"expose":{"min_scale":0,"max_scale":0,"api_port":[5000],"cpu_threshold":0,',
    );
  });

  test('the token stays over PUT, a new service has a new one', async () => {
    const token = await api.service('tokens');
    await api.call('PUT', '/system/services', { body: body('tokens', { token: 'x'.repeat(64) }) });
    expect((await read('tokens')).token).toBe(token);
    expect((await api.call('POST', '/job/tokens', { as: token })).status).toBe(201);
    await api.call('DELETE', '/system/services/tokens');
    const next = await api.service('tokens');
    expect(next).not.toBe(token);
    expect((await api.call('POST', '/job/tokens', { as: token })).status).toBe(401);
  });
});

describe('secrets', () => {
  test('never come back, stay when they are sent back as read, go when they are not sent', async () => {
    const extra = {
      environment: { secrets: { KEY: 'geheim-1' } },
      storage_providers: { s3: { eu: { access_key: 'AKIA1', secret_key: 'geheim-2', region: 'eu' } } },
      clusters: { c: { endpoint: 'https://c', auth_user: 'u', auth_password: 'geheim-3', ssl_verify: true } },
    };
    await create('secretive', extra);
    const shown = await api.call('GET', '/system/services/secretive');
    expect(shown.text).not.toMatch(/geheim|AKIA1/);
    expect(shown.text).toContain('"s3":{"eu":{"access_key":"hidden","secret_key":"hidden","region":"eu"}}');
    const stored = await api.definitions.get('secretive');
    expect(JSON.stringify(stored)).not.toMatch(/geheim|AKIA1/);
    const first = await api.definitions.secrets(stored?.uid ?? '', 1);
    expect(first?.environment).toEqual({ KEY: 'geheim-1' });
    expect(first?.third_party).toMatchObject({ 'clusters.c.auth_password': 'geheim-3' });

    expect((await api.call('PUT', '/system/services', { body: shown.text })).status).toBe(204);
    expect(await api.definitions.secrets(stored?.uid ?? '', 2)).toEqual(first);
    expect((await api.call('GET', '/system/services/secretive')).text).toBe(shown.text);

    await api.call('PUT', '/system/services', { body: body('secretive') });
    expect((await api.definitions.secrets(stored?.uid ?? '', 3))?.environment).toEqual({});
  });

  test('owner and namespace stay over PUT', async () => {
    await create('owned', { owner: 'somebody', namespace: 'mine' });
    await api.call('PUT', '/system/services', { body: body('owned', { owner: '', namespace: 'other' }) });
    expect(await read('owned')).toMatchObject({
      owner: 'cluster_admin',
      namespace: 'mine',
      labels: { owner_name: 'oscar' },
    });
  });
});

describe('what can’t be is said at once', () => {
  test.each<[object | string, string]>([
    [
      '{"name":"x","cpu":1}',
      'The service specification is not valid: json: cannot unmarshal number into Go struct field Service.cpu of type string',
    ],
    [
      '{"name":"bad1"}',
      "The service specification is not valid: Key: 'Service.Image' Error:Field validation for 'Image' failed on the 'required' tag\nKey: 'Service.Script' Error:Field validation for 'Script' failed on the 'required' tag",
    ],
    [
      { visibility: 'PUBLIC' },
      'The service specification is not valid: visibility: must be "private", "restricted" or "public"',
    ],
    [{ input: [own(' / ')] }, 'input path cannot be empty'],
    [{ enable_sgx: true }, 'The service specification is not valid: enable_sgx: this machine has no SGX'],
    [
      { input: [{ storage_provider: 'webdav.dcache', path: 'x/y' }] },
      'The service specification is not valid: input[0].storage_provider: the StorageProvider "webdav.dcache" is not defined',
    ],
  ])('%j', async (given, message) => {
    const answer = await api.call('POST', '/system/services', {
      body: typeof given === 'string' ? given : body('bad', given),
    });
    expect([answer.status, answer.text]).toEqual([400, message]);
    expect(await api.definitions.get('bad')).toBeUndefined();
    expect(await api.objects.getBucket('bad')).toBeUndefined();
  });

  test('loops, directly and through others, unless they are meant', async () => {
    const direct = await create('loop-a', { output: [own('loop-a/in/again')] });
    expect([direct.status, direct.text]).toEqual([
      400,
      expect.stringContaining('(loop-a → loop-a); set sluice.allow_loop'),
    ]);
    expect((await create('loop-b', { input: [own('loop-x/in')], output: [own('loop-y/in')] })).status).toBe(
      201,
    );
    const chain = { input: [own('loop-y/in')], output: [own('loop-x/in')] };
    const through = await create('loop-c', chain);
    expect([through.status, through.text]).toEqual([
      400,
      expect.stringContaining('(loop-c → loop-b → loop-c)'),
    ]);
    const meant = await create('loop-c', { ...chain, sluice: { allow_loop: true } });
    expect(meant.status).toBe(201);
    expect((await api.call('GET', '/system/services/loop-c')).text).toMatch(
      /,"sluice":\{"allow_loop":true\}\}$/,
    );
    // An update can't sneak one in either.
    expect((await api.call('PUT', '/system/services', { body: body('loop-c', chain) })).status).toBe(400);
  });
});

describe('backfill', () => {
  test('is a command on the bus, for a prefix of an input', async () => {
    await create('filler');
    const queue = await api.bus.workQueue({
      durable: 'test-backfill',
      name: 'backfills.start',
      maxInFlight: 10,
    });
    const answer = await api.call('POST', '/system/services/filler/backfill', {
      body: '{"prefix":"filler/in/2024","again":true}',
    });
    expect(answer.status).toBe(202);
    const [delivery] = await queue.fetch('filler', 1);
    expect(delivery?.message.payload).toEqual({
      ...(answer.json() as object),
      service: 'filler',
      service_uid: (await api.definitions.get('filler'))?.uid,
      prefix: 'filler/in/2024',
      again: true,
    });
    await delivery?.ack();
    expect((await api.call('POST', '/system/services/filler/backfill')).status).toBe(202);
    await queue.close();
  });

  test('is refused outside the inputs', async () => {
    const answer = await api.call('POST', '/system/services/filler/backfill', {
      body: '{"prefix":"filler/out"}',
    });
    expect([answer.status, answer.headers['content-type']]).toEqual([400, 'application/problem+json']);
    expect(answer.json()).toMatchObject({ code: 'invalid_input', field: 'prefix' });
    expect((await api.call('POST', '/system/services/nobody/backfill')).status).toBe(404);
    expect(
      (await api.call('POST', '/system/services/filler/backfill', { body: '{"again":"yes"}' })).status,
    ).toBe(400);
  });
});
