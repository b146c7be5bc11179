import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { createService, definitionOf, runOf, tokenOf } from './support/service.ts';
import { removeFolder, startServer, tempFolder, type Server } from './support/server.ts';
import { waitFor } from './support/wait.ts';

// What is left of calls, runs and runners after a killed server, two who cancel at once, and a storm of changes.
let data: string;
let server: Server;

beforeEach(async () => {
  data = await tempFolder();
  server = await startServer({ data });
});
afterEach(async () => {
  await server.stop('SIGKILL');
  await removeFolder(data);
});

/** Hangs, with a process in the background, where it is told to; else it answers. */
const script = `#!/bin/sh
if grep -q hang "$INPUT_FILE_PATH"; then sleep 300 & sleep 300; fi
echo "said $(cat "$INPUT_FILE_PATH")"
`;
const more = () => ({
  synchronous: { min_scale: 1, max_scale: 3 },
  environment: { variables: { STORM: data } },
});

/** Processes that a script of this server started, found by a variable of theirs. */
async function marked(): Promise<readonly string[]> {
  const names = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const environments = await Promise.all(
    names.map((name) => readFile(`/proc/${name}/environ`, 'latin1').catch(() => '')),
  );
  return names.filter((_, index) => environments[index]?.split('\0').includes(`STORM=${data}`) === true);
}

const noneMarked = (): Promise<true> =>
  waitFor('no process of a script to be left', async () => (await marked()).length === 0 || undefined);
const folders = async (name: string): Promise<readonly string[]> =>
  (await readdir(join(data, 'work', name)).catch(() => [])).filter((entry) => !entry.startsWith('.'));

async function call(name: string, token: string, body: string): Promise<Response> {
  const headers = { authorization: `Bearer ${token}` };
  return server.request(`/run/${name}`, { method: 'POST', body, headers });
}

test.runIf(process.platform === 'linux')(
  'a server that is killed amid calls and runs starts clean',
  async () => {
    await createService(server, 'talk', script, more());
    const token = await tokenOf(server, 'talk');
    const headers = { authorization: `Bearer ${token}` };
    const hanging = [1, 2, 3].map(() =>
      call('talk', token, '{"say":"hang"}').then(
        () => 'answer',
        () => 'broken',
      ),
    );
    const job = await server.request('/job/talk', { method: 'POST', body: '{"say":"hang"}', headers });
    expect(job.status).toBe(201);
    // A shell and two processes of each.
    await waitFor('calls and run to be under way', async () =>
      (await marked()).length >= 12 ? true : undefined,
    );
    const before = await folders('runners');
    expect(before.length).toBeGreaterThanOrEqual(3);
    await server.stop('SIGKILL');
    expect(await Promise.all(hanging)).toEqual(['broken', 'broken', 'broken']);

    server = await startServer({ data });
    const left = await marked();
    // The run is tried again; nothing of the calls is.
    expect(left.length).toBeLessThanOrEqual(3);
    expect((await folders('runners')).filter((name) => before.includes(name))).toEqual([]);
    const answer = await call('talk', token, '{"say":"hello"}');
    expect([answer.status, await answer.text()]).toEqual([200, 'said {"say":"hello"}\n\n']);
    expect((await server.request('/system/services/talk', { method: 'DELETE' })).status).toBe(204);
    await noneMarked();
    await waitFor('no runner to be left', async () => (await folders('runners')).length === 0 || undefined);
  },
  60_000,
);

test.runIf(process.platform === 'linux')(
  'of many who cancel one run none is wrong, and it is cancelled once',
  async () => {
    await createService(server, 'talk', script, { environment: { variables: { STORM: data } } });
    const headers = { authorization: `Bearer ${await tokenOf(server, 'talk')}` };
    await server.request('/job/talk', { method: 'POST', body: '{"say":"hang"}', headers });
    const id = await waitFor('the run', async () => {
      const { runs } = (await (await server.request('/system/runs?service=talk')).json()) as {
        runs: { id: string }[];
      };
      return runs[0]?.id;
    });
    await waitFor('its script', async () => ((await marked()).length >= 3 ? true : undefined));
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, index) =>
        server.request(`/system/runs/${id}/cancel`, {
          method: 'POST',
          ...(index % 2 === 0 ? { headers } : {}),
        }),
      ),
    );
    const statuses = new Set(answers.map(({ status }) => status));
    expect(statuses.has(202)).toBe(true);
    expect([...statuses].filter((status) => status !== 202 && status !== 409)).toEqual([]);
    const run = await waitFor('the run to end', async () => {
      const now = await runOf(server, id);
      return now.state === 'cancelled' ? now : undefined;
    });
    expect(run.timeline.filter(({ state }) => state === 'cancelled')).toHaveLength(1);
    expect(run.attempt).toBe(1);
    await noneMarked();
    expect((await server.request(`/system/runs/${id}/cancel`, { method: 'POST' })).status).toBe(409);
  },
  60_000,
);

const names = ['storm-a', 'storm-b', 'storm-c'];
const changes = 200;

/** One change after the other, each service's whole life over and over. */
async function change(name: string, turn: number): Promise<Response> {
  const body = JSON.stringify(definitionOf(name, `${script}# ${turn}\n`, more()));
  switch (turn % 7) {
    case 0:
      return server.request(`/system/services/${name}/stop`, { method: 'POST' });
    case 1:
      return server.request(`/system/services/${name}/start`, { method: 'POST' });
    case 2:
    case 3:
      return server.request(`/system/services/${name}/restart`, { method: 'POST' });
    case 4:
      return server.request('/system/services', { method: 'PUT', body });
    case 5:
      return server.request(`/system/services/${name}`, { method: 'DELETE' });
    default:
      return server.request('/system/services', { method: 'POST', body });
  }
}

interface Tally {
  readonly statuses: Map<string, number>;
  turn: number;
  hung: number;
}

function note({ statuses }: Tally, kind: string, status: number): void {
  const key = `${kind} ${status}`;
  statuses.set(key, (statuses.get(key) ?? 0) + 1);
}

/** Any other while the service is not there. */
const tokenNow = (name: string): Promise<string> => tokenOf(server, name).catch(() => 'none');

/** Changes and calls by turns. */
async function changer(name: string, tally: Tally): Promise<void> {
  for (let own = 0; tally.turn < changes; own += 1) {
    tally.turn += 1;
    const changed = await change(name, own);
    await changed.text();
    note(tally, 'change', changed.status);
    const answer = await call(name, await tokenNow(name), '{"say":"hello"}');
    await answer.text();
    note(tally, 'call', answer.status);
  }
}

/** Calls that hang until their caller gives them up, which is as soon as a script of one runs, or a change ends them. */
async function hanger(name: string, tally: Tally, over: AbortSignal): Promise<void> {
  while (!over.aborted) {
    const headers = { authorization: `Bearer ${await tokenNow(name)}` };
    const gone = new AbortController();
    let answered = false;
    const hanging = server
      .request(`/run/${name}`, { method: 'POST', body: '{"say":"hang"}', headers, signal: gone.signal })
      .then(
        (answer) => answer.status,
        () => undefined,
      )
      .finally(() => (answered = true));
    const seen = await waitFor('the call to hang or to end', async () => {
      if ((await marked()).length >= 3) return 'hangs';
      return answered || over.aborted ? 'ends' : undefined;
    });
    if (seen === 'hangs') tally.hung += 1;
    gone.abort();
    const status = await hanging;
    if (status !== undefined) note(tally, 'hanging call', status);
  }
}

test.runIf(process.platform === 'linux')(
  `${changes} changes amid calls leave a server that is well, and nothing else`,
  async () => {
    for (const name of names) await createService(server, name, script, more());
    const tally: Tally = { statuses: new Map(), turn: 0, hung: 0 };
    const over = new AbortController();
    const hangers = names.map((name) => hanger(name, tally, over.signal));
    // Two for one of the services, so that changes meet.
    await Promise.all([...names, 'storm-a'].map((name) => changer(name, tally)));
    over.abort();
    await Promise.all(hangers);

    const told = JSON.stringify([...tally.statuses]);
    const odd = [...tally.statuses.keys()].filter((key) => / 5\d\d$/.test(key) && !key.endsWith(' 503'));
    expect(odd, told).toEqual([]);
    expect(tally.statuses.get('call 200') ?? 0, told).toBeGreaterThan(20);
    expect(tally.hung, told).toBeGreaterThan(5);
    expect((await server.request('/health')).status).toBe(200);
    for (const name of names) {
      await server.request(`/system/services/${name}`, { method: 'DELETE' });
      await createService(server, name, script, more());
      const answer = await call(name, await tokenOf(server, name), '{"say":"well"}');
      expect([answer.status, await answer.text()]).toEqual([200, 'said {"say":"well"}\n\n']);
      expect((await server.request(`/system/services/${name}`, { method: 'DELETE' })).status).toBe(204);
    }
    await noneMarked();
    await waitFor('no runner to be left', async () => (await folders('runners')).length === 0 || undefined);
  },
  60_000,
);
