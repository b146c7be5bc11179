import { describe, expect, test } from 'vitest';
import { tokenOf } from '../support/service.ts';
import { waitFor } from '../support/wait.ts';
import type { World } from '../support/world.ts';

const golden = {
  name: 'demo',
  log_level: 'CRITICAL',
  image: 'busybox',
  input: [{ storage_provider: 'minio.default', path: 'demo/in' }],
  output: [{ storage_provider: 'minio.default', path: 'demo/out', suffix: ['.png'] }],
  script: '#!/bin/sh\ncp "$INPUT_FILE_PATH" "$TMP_OUTPUT_DIR"\n',
  environment: { Variables: { A: '1' }, secrets: { KEY: 'shh' } },
};

/** OSCAR §12: the checklist and the golden shapes, seen from outside only. */
export function describeOscarWire(world: () => World): void {
  const post = (body: unknown, headers: Record<string, string> = {}): Promise<Response> =>
    world().request('/system/services', {
      method: 'POST',
      body: typeof body === 'string' ? body : JSON.stringify(body),
      headers,
    });
  const put = (body: unknown): Promise<Response> =>
    world().request('/system/services', { method: 'PUT', body: JSON.stringify(body) });

  describe('1: health, unknown paths, Basic', () => {
    test('health', async () => {
      const answer = await fetch(`${world().url}/health`);
      expect([answer.status, await answer.text()]).toEqual([200, 'Ok']);
    });
    test.each(['/nowhere', '/system', '/system/services/a/b/c'])('%s is unknown', async (path) => {
      const answer = await world().request(path);
      expect([answer.status, await answer.text()]).toEqual([404, '404 page not found']);
    });
    test('a wrong method on a known path is unknown too', async () => {
      const answer = await world().request('/system/services', { method: 'PATCH' });
      expect([answer.status, await answer.text()]).toEqual([404, '404 page not found']);
    });
    test('a failed Basic login', async () => {
      for (const authorization of ['', 'Basic d3Jvbmc6d3Jvbmc=', 'Basic !!!', 'Bearer x']) {
        const answer = await world().request('/system/services', { headers: { authorization } });
        expect([answer.status, await answer.text(), answer.headers.get('www-authenticate')]).toEqual([
          401,
          '',
          'Basic realm="Authorization Required"',
        ]);
      }
    });
    test('a trailing slash is redirected, before any login', async () => {
      const get = await fetch(`${world().url}/system/services/`, { redirect: 'manual' });
      expect([get.status, get.headers.get('location')]).toEqual([301, '/system/services']);
      const other = await fetch(`${world().url}/system/services/`, { method: 'POST', redirect: 'manual' });
      expect([other.status, other.headers.get('location')]).toEqual([307, '/system/services']);
    });
  });

  describe('2: the life of a service', () => {
    test('201, 400 for a second, 204, 200, 204, 404; bodies empty where OSCAR has none', async () => {
      const service = { ...golden, name: 'life' };
      const input = { input: [{ storage_provider: 'minio.default', path: 'life/in' }], output: [] };
      const created = await post({ ...service, ...input });
      expect([created.status, await created.text()]).toEqual([201, '']);
      const again = await post({ ...service, ...input });
      expect([again.status, await again.text()]).toEqual([
        400,
        'A service with the provided name already exists',
      ]);
      const updated = await put({ ...service, ...input, memory: '512Mi' });
      expect([updated.status, await updated.text()]).toEqual([204, '']);
      expect(await (await world().request('/system/services/life')).text()).toContain('"memory":"512Mi"');
      const deleted = await world().request('/system/services/life', { method: 'DELETE' });
      expect([deleted.status, await deleted.text()]).toEqual([204, '']);
      const missing = await world().request('/system/services/life');
      expect([missing.status, await missing.text()]).toEqual([404, '']);
      const unknown = await put({ ...service, ...input });
      expect([unknown.status, await unknown.text()]).toEqual([404, '']);
    });
  });

  describe('3: how bodies are read', () => {
    test.each(['text/json', 'application/octet-stream', 'application/x-www-form-urlencoded', 'nonsense'])(
      'content type %s does not matter',
      async (type) => {
        const name = `type-${type.replaceAll(/[^a-z]/g, '').slice(0, 20)}`;
        const answer = await post({ ...golden, name, input: [], output: [] }, { 'content-type': type });
        expect([answer.status, await answer.text()]).toEqual([201, '']);
      },
    );
    test('keys in any case, null, trailing bytes, scalar ports', async () => {
      const body = `{"NAME":"loose","Image":"i","SCRIPT":"true","memory":null,"expose":{"API_port":5000,"nodePort":0},"environment":{"Variables":{"b":"2","a":"1"}}} trailing`;
      expect((await post(body)).status).toBe(201);
      const text = await (await world().request('/system/services/loose')).text();
      expect(text).toContain('"memory":"256Mi"');
      expect(text).toContain('"api_port":[5000]');
      expect(text).toContain('"variables":{"a":"1","b":"2"}');
    });
    test.each([
      ['', 'EOF'],
      ['{', 'unexpected EOF'],
      ['{"name":1}', 'name'],
      ['{"name":"x","image":"i","script":"s","cpu":1}', 'cpu'],
      ['[]', 'Service'],
      [
        '{"image":"i","script":"s"}',
        "Key: 'Service.Name' Error:Field validation for 'Name' failed on the 'required' tag",
      ],
      [
        JSON.stringify({ ...golden, name: 'x'.repeat(40) }),
        "Field validation for 'Name' failed on the 'max' tag",
      ],
      [JSON.stringify({ ...golden, name: '../x' }), 'name'],
      [JSON.stringify({ ...golden, name: 'v', visibility: 'PRIVATE' }), 'visibility'],
      [
        JSON.stringify({ ...golden, name: 'v', input: [{ storage_provider: 'minio', path: '../etc' }] }),
        'input[0].path',
      ],
      [
        JSON.stringify({ ...golden, name: 'v', input: [{ storage_provider: 'webdav.x', path: 'a/b' }] }),
        'input[0].storage_provider',
      ],
      [
        JSON.stringify({ ...golden, name: 'v', output: [{ storage_provider: 'onedata.x', path: 'a/b' }] }),
        'output[0].storage_provider',
      ],
      [JSON.stringify({ ...golden, name: 'v', memory: 'much' }), 'memory'],
    ])('%j is a 400 that names the place', async (body, part) => {
      const answer = await post(body);
      expect(answer.status).toBe(400);
      expect(answer.headers.get('content-type')).toBe('text/plain; charset=utf-8');
      expect(await answer.text()).toContain(part);
    });
  });

  describe('4: the token', () => {
    test('64 hex, stable over PUT, works on /job, a wrong one does not', async () => {
      const service = { ...golden, name: 'token', input: [], output: [] };
      await post(service);
      const token = await tokenOf(world(), 'token');
      expect(token).toMatch(/^[0-9a-f]{64}$/);
      await put({ ...service, memory: '1Gi', token: 'f'.repeat(64) });
      expect(await tokenOf(world(), 'token')).toBe(token);
      const job = (authorization: string): Promise<Response> =>
        fetch(`${world().url}/job/token`, { method: 'POST', headers: { authorization }, body: 'x' });
      const taken = await job(`Bearer ${token}`);
      expect([taken.status, await taken.text(), taken.headers.get('content-length')]).toEqual([201, '', '0']);
      for (const wrong of [
        `Bearer ${'0'.repeat(64)}`,
        'Bearer x',
        'Basic x',
        '',
        `Bearer ${token} `.repeat(2),
      ]) {
        const refused = await job(wrong);
        expect([refused.status, await refused.text()]).toEqual([401, '']);
      }
    });
  });

  describe('5 and 6: a file, its one run, its output, its log; and the golden shapes', () => {
    test('the definition, byte for byte', async () => {
      expect((await post(golden)).status).toBe(201);
      const answer = await world().request('/system/services/demo');
      expect(answer.headers.get('content-type')).toBe('application/json; charset=utf-8');
      const text = await answer.text();
      const token = await tokenOf(world(), 'demo');
      const { namespace, endpoint, region } = world().surroundings;
      expect(text).toBe(
        `{"name":"demo","cluster_id":"","memory":"256Mi","cpu":"0.2","total_memory":"","total_cpu":"","ephemeral_storage_request":"","enable_gpu":false,"enable_sgx":false,"image_prefetch":false,"synchronous":{"min_scale":0,"max_scale":0},"log_level":"CRITICAL","image":"busybox","alpine":false,"token":"${token}","file_stage_in":false,"input":[{"storage_provider":"minio.default","path":"demo/in"}],"output":[{"storage_provider":"minio.default","path":"demo/out","suffix":[".png"]}],"script":"#!/bin/sh\\ncp \\"$INPUT_FILE_PATH\\" \\"$TMP_OUTPUT_DIR\\"\\n","expose":{"min_scale":0,"max_scale":0,"cpu_threshold":0,"rewrite_target":false,"default_command":false,"set_auth":false,"health_path":""},"environment":{"variables":{"A":"1"},"secrets":{"KEY":""}},"annotations":{},"vo":"","labels":{"applicationId":"demo","oscar.grycap/user-service":"true","oscar_service":"demo","owner_name":"oscar","queue":"root.oscar-queue.demo"},"storage_providers":{"minio":{"default":{"endpoint":"${endpoint}","verify":true,"access_key":"hidden","secret_key":"hidden","region":"${region}"}}},"owner":"cluster_admin","namespace":"${namespace}","interlink_node_name":"","visibility":"private","allowed_users":[],"isolation_level":"","bucket_list":[],"mount":{"storage_provider":"","path":""},"volume_status":{"enabled":false}}`,
      );
      const list = await (await world().request('/system/services')).text();
      expect(list.startsWith('[') && list.includes(text)).toBe(true);
    });

    test('one upload, one execution, outputs by suffix, the job list and the log', async () => {
      await world().drop('demo', 'in/a.png', 'picture');
      const list = await waitFor('the job', async () => {
        const text = await (await world().request('/system/logs/demo')).text();
        return text.includes('Succeeded') ? text : undefined;
      });
      expect(list).toMatch(
        /^\{"jobs":\{"demo-[0-9a-f-]{36}":\{"status":"Succeeded","creation_time":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ","start_time":"[^"]{20}","finish_time":"[^"]{20}"\}\}\}$/,
      );
      const output = await world().request('/system/buckets/demo/objects/out/a.png');
      expect(await output.text()).toBe('picture');
      const bucket = await (await world().request('/system/buckets')).text();
      expect(bucket).toContain('"bucket_name":"demo","visibility":');
      expect(bucket).toMatch(
        /"metadata":\{"from_service":"demo","owner_name":"oscar"\},"storage_quota":\{"source":"unset"\},"storage_usage":\{"used":"14","used_bytes":14,"objects":2\},"attribution":"complete"\}/,
      );
      await world().drop('demo', 'in/b.txt', 'not a picture');
      await waitFor('the second job', async () => {
        const text = await (await world().request('/system/logs/demo')).text();
        return text.match(/Succeeded/g)?.length === 2 ? true : undefined;
      });
      expect((await world().request('/system/buckets/demo/objects/out/b.txt')).status).toBe(404);
    });

    test('a waiting job has no times', async () => {
      await post({
        ...golden,
        name: 'waiting',
        input: [],
        output: [],
        script: 'sleep 60\n',
        sluice: { max_concurrency: 1 },
      });
      const token = await tokenOf(world(), 'waiting');
      const job = (): Promise<Response> =>
        fetch(`${world().url}/job/waiting`, {
          method: 'POST',
          headers: { authorization: `Bearer ${token}` },
          body: '{}',
        });
      await job();
      await waitFor('the first to run', async () =>
        (await (await world().request('/system/logs/waiting')).text()).includes('Running') ? true : undefined,
      );
      const id = (await job()).headers.get('x-run-id') ?? '';
      expect(await (await world().request('/system/logs/waiting')).text()).toContain(
        `"${id}":{"status":"Suspended"}`,
      );
    });

    test('deletion: without "all" only what succeeded', async () => {
      await post({
        ...golden,
        name: 'trash',
        input: [],
        output: [],
        script: 'read x < "$INPUT_FILE_PATH"; exit "$x"\n',
      });
      const token = await tokenOf(world(), 'trash');
      for (const body of ['MAo=', 'Mwo=']) {
        await fetch(`${world().url}/job/trash`, {
          method: 'POST',
          headers: { authorization: `Bearer ${token}` },
          body,
        });
      }
      const statuses = async (): Promise<string[]> => {
        const list = (await (await world().request('/system/logs/trash')).json()) as {
          jobs: Record<string, { status: string }>;
        };
        return Object.values(list.jobs)
          .map((job) => job.status)
          .sort();
      };
      await waitFor('both to end', async () =>
        (await statuses()).join() === 'Failed,Succeeded' ? true : undefined,
      );
      expect((await world().request('/system/logs/trash', { method: 'DELETE' })).status).toBe(204);
      expect(await statuses()).toEqual(['Failed']);
      expect((await world().request('/system/logs/trash?all=true', { method: 'DELETE' })).status).toBe(204);
      expect(await statuses()).toEqual([]);
      expect((await world().request('/system/logs/trash/trash-none')).status).toBe(404);
      expect((await world().request('/system/logs/nobody')).status).toBe(404);
    });
  });
}
