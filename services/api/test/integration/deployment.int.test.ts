import type { RunnerState } from '@sluice/shared/contracts';
import { eventually } from '@sluice/shared/testing';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { fakeRunner, sayRunners } from './fake-runner.ts';
import { startFixture, type Fixture } from './fixture.ts';

let api: Fixture;
beforeAll(async () => {
  api = await startFixture();
});
afterAll(async () => api.close());

const url = (name: string, rest: string) => `/system/services/${name}/${rest}`;
const get = async (name: string, rest = 'deployment') => api.call('GET', url(name, rest));
const post = async (name: string, action: string) => api.call('POST', url(name, action));
const versionOf = async (name: string) => (await api.definitions.get(name))?.version;
const annotations = async (name: string) => (await api.definitions.get(name))?.definition.annotations;
const since = Date.UTC(2026, 0, 2, 3, 4, 5, 678);

/** What the scheduler would say of a service. */
const say = async (name: string, changes: Partial<RunnerState>) => {
  const stored = await api.definitions.get(name);
  const payload = {
    service: name,
    service_uid: stored?.uid ?? '',
    state: 'ready',
    reason: '',
    desired: 0,
    limit: 4,
    runners: [],
    since,
    ...changes,
  };
  api.bus.hint({ name: 'runners.state', key: name, payload });
};

describe('the state of a service’s runners (OSCAR §1.6)', () => {
  test('unavailable until the scheduler said something, then what it said, byte for byte', async () => {
    await api.service('seen');
    const before = await get('seen');
    expect([before.status, before.headers['content-type'], before.text]).toEqual([
      200,
      'application/json; charset=utf-8',
      '{"service_name":"seen","namespace":"oscar-svc","state":"unavailable","reason":"Current deployment visibility is unavailable for this service runtime.","active_instances":0,"affected_instances":0,"resource_kind":"unavailable"}',
    ]);
    await say('seen', {
      state: 'degraded',
      desired: 2,
      runners: [
        { id: 'a', state: 'ready', service_version: 1 },
        { id: 'b', state: 'starting', service_version: 1 },
        { id: 'c', state: 'ended', service_version: 1 },
      ],
    });
    const rest =
      '"state":"degraded","reason":"1 of 2 instances are affected.","last_transition_time":"2026-01-02T03:04:05Z","active_instances":2,"affected_instances":1,"resource_kind":"knative_service"}';
    await eventually(
      'the state that was said',
      async () => (await get('seen')).text === `{"service_name":"seen","namespace":"oscar-svc",${rest}`,
    );
    for (const path of ['/system/services/seen', '/system/services']) {
      const shown = await api.call('GET', `${path}?include=x,Deployment`);
      expect(shown.text).toContain(`"volume_status":{"enabled":false},"deployment":{${rest}`);
      expect((await api.call('GET', path)).text).not.toContain('"deployment"');
    }
  });

  test('what was said of a deleted service is not said of the next of its name', async () => {
    await api.service('again');
    await say('again', {});
    await eventually('the state that was said', async () =>
      (await get('again')).text.includes('"state":"ready"'),
    );
    await api.call('DELETE', '/system/services/again');
    await api.service('again');
    expect((await get('again')).text).toContain('"state":"unavailable"');
  });

  test.each(['deployment', 'deployment/logs'])(
    'GET …/%s of nothing is 404, of a wrong name 400',
    async (rest) => {
      const missing = await get('missing', rest);
      expect([missing.status, missing.text]).toEqual([404, '']);
      const wrong = await get('-wrong', rest);
      expect([wrong.status, wrong.text]).toEqual([400, 'invalid serviceName']);
    },
  );

  test.each([
    ['GET', 'deployment'],
    ['GET', 'deployment/logs'],
    ['POST', 'stop'],
    ['POST', 'start'],
    ['POST', 'restart'],
  ])('%s …/%s is the administrator’s', async (method, rest) => {
    const token = await api.service(`own-${rest.replace('/', '-')}`);
    for (const as of [null, token])
      expect((await api.call(method, url('own', rest), { as })).status).toBe(401);
  });
});

describe('stop, start, restart', () => {
  test('a stop shows at once, makes one version, and is idempotent', async () => {
    const token = await api.service('stops');
    const [one, two, three] = await Promise.all([
      post('stops', 'stop'),
      post('stops', 'stop'),
      post('stops', 'stop'),
    ]);
    for (const answer of [one, two, three]) {
      expect([answer.status, answer.headers['content-type']]).toEqual([
        200,
        'application/json; charset=utf-8',
      ]);
      expect(answer.text).toMatch(
        /^\{"service_name":"stops","namespace":"oscar-svc","state":"stopped","reason":"Deployment is stopped\.","last_transition_time":"[-0-9]+T[:0-9]+Z","active_instances":0,"affected_instances":0,"resource_kind":"knative_service"\}$/,
      );
    }
    expect(await versionOf('stops')).toBe(2);
    expect(await annotations('stops')).toEqual({ 'oscar.grycap.io/stopped': 'true' });
    expect((await post('stops', 'stop')).status).toBe(200);
    expect(await versionOf('stops')).toBe(2);
    // The token and the job route stay.
    expect((await api.call('POST', '/job/stops', { as: token, body: 'x' })).status).toBe(201);
  });

  test('a start shows as pending until the scheduler says more', async () => {
    await api.service('starts');
    await post('starts', 'stop');
    await say('starts', { state: 'stopped' });
    const started = await post('starts', 'start');
    expect([started.status, started.json()]).toMatchObject([200, { service_name: 'starts' }]);
    expect(await annotations('starts')).toEqual({ 'oscar.grycap.io/stopped': 'false' });
    await eventually('the state that was said', async () =>
      (await get('starts')).text.includes(
        '"state":"pending","reason":"Runtime service is still reconciling."',
      ),
    );
    const version = await versionOf('starts');
    await post('starts', 'start');
    expect(await versionOf('starts')).toBe(version);
  });

  test('a service that was never stopped is not changed by a start', async () => {
    await api.service('runs');
    expect((await post('runs', 'start')).status).toBe(200);
    expect(await versionOf('runs')).toBe(1);
  });

  test('every restart is a new version; it starts nothing that is stopped', async () => {
    await api.service('restarts');
    for (const version of [2, 3]) {
      expect((await post('restarts', 'restart')).status).toBe(200);
      expect(await versionOf('restarts')).toBe(version);
      expect((await annotations('restarts'))?.['oscar.grycap.io/restarted-at']).toMatch(
        /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z$/,
      );
    }
    await post('restarts', 'stop');
    expect((await post('restarts', 'restart')).text).toContain('"state":"stopped"');
  });

  test('many at once: each is answered, and the last state is whole', async () => {
    await api.service('busy');
    const actions = ['stop', 'restart', 'start', 'restart', 'stop', 'start'];
    const answers = await Promise.all(actions.map((action) => post('busy', action)));
    for (const answer of answers) expect([200, 409]).toContain(answer.status);
    expect(answers.some(({ status }) => status === 200)).toBe(true);
    expect((await api.call('GET', '/system/services/busy')).status).toBe(200);
  });

  test.each(['stop', 'start', 'restart'])('%s of nothing is 404, of a wrong name 400', async (action) => {
    const missing = await post('missing', action);
    expect([missing.status, missing.text]).toEqual([404, '']);
    expect((await post('-wrong', action)).status).toBe(400);
    expect((await api.call('GET', url('missing', action), { as: null })).status).toBe(404);
  });

  test('sending the definition again starts nothing, unless it says so', async () => {
    await api.service('kept', { annotations: { mine: '1' } });
    await post('kept', 'restart');
    await post('kept', 'stop');
    const before = await annotations('kept');
    const put = async (extra: object) => {
      const body = JSON.stringify({ name: 'kept', image: 'x', script: 'true', ...extra });
      return (await api.call('PUT', '/system/services', { body })).status;
    };
    expect(await put({ annotations: { mine: '2' } })).toBe(204);
    expect(await annotations('kept')).toEqual({ ...before, mine: '2' });
    // Another annotation that is not sent goes, as in OSCAR.
    expect(await put({})).toBe(204);
    expect(await annotations('kept')).not.toHaveProperty('mine');
    expect((await get('kept')).text).toContain('"state":"stopped"');
    expect(await put({ annotations: { 'oscar.grycap.io/stopped': 'false' } })).toBe(204);
    expect((await get('kept')).text).not.toContain('"state":"stopped"');
  });

  test('secrets stay over a stop', async () => {
    await api.service('secret', { environment: { secrets: { KEY: 'geheim' } } });
    await post('secret', 'stop');
    const stored = await api.definitions.get('secret');
    const secrets = await api.definitions.secrets(stored?.uid ?? '', stored?.version ?? 0);
    expect(secrets?.environment).toEqual({ KEY: 'geheim' });
    expect((await api.call('GET', '/system/services/secret')).text).not.toContain('geheim');
  });
});

describe('logs of runners', () => {
  test('none: unavailable', async () => {
    await api.service('quiet');
    const answer = await get('quiet', 'deployment/logs?timestamps=true&tailLines=junk');
    expect([answer.status, answer.text]).toEqual([
      200,
      '{"service_name":"quiet","available":false,"message":"Deployment logs are unavailable for this service.","entries":[]}',
    ]);
  });

  test('timestamps that are no truth value are 400 naming them', async () => {
    await api.service('logged');
    const answer = await get('logged', 'deployment/logs?timestamps=perhaps');
    expect([answer.status, answer.text]).toEqual([400, expect.stringContaining('timestamps: ')]);
  });
});

describe('calls of a stopped service', () => {
  test('are refused, those that wait for a runner, too; what a runner has in hand goes on', async () => {
    const token = await api.service('called');
    const service = { name: 'called', uid: (await api.definitions.get('called'))?.uid ?? '' };
    const runner = await fakeRunner('called-r', () => undefined);
    try {
      sayRunners(api.bus, service, [runner.entry]);
      const call = async () => api.call('POST', '/run/called', { as: token, body: 'x' });
      const active = call();
      const invocation = await eventually('a call is in hand', () => runner.invocations[0]);
      const waiting = [call(), call()];
      expect((await post('called', 'stop')).text).toContain('"state":"stopped"');
      const late = await call();
      sayRunners(api.bus, service, [{ ...runner.entry, state: 'draining' }], { state: 'stopped' });
      for (const answer of [late, ...(await Promise.all(waiting))]) {
        expect(answer.status).toBe(503);
        expect(answer.text).toContain('POST /system/services/called/start');
      }
      expect((await get('called')).text).toContain('"state":"stopped","reason":"Deployment is stopped."');
      invocation.succeed('done');
      expect((await active).text).toBe('done');
      // A started service takes calls again.
      await post('called', 'start');
      sayRunners(api.bus, service, [{ ...runner.entry, service_version: 3 }]);
      const again = call();
      (await eventually('the next call is in hand', () => runner.invocations[1])).succeed('again');
      expect((await again).text).toBe('again');
      const { logs } = (await api.call('GET', '/system/logs')).json() as {
        logs: { path: string; status: number }[];
      };
      const statuses = logs.filter(({ path }) => path === '/run/called').map(({ status }) => status);
      expect(statuses.toSorted((a, b) => a - b)).toEqual([200, 200, 503, 503, 503]);
    } finally {
      await runner.close();
    }
  });
});
