import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdir, readFile, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { createService, runOf, runsOf, tokenOf, type RunView } from './support/service.ts';
import { removeFolder, startRefused, startServer, tempFolder, type Server } from './support/server.ts';
import { waitFor } from './support/wait.ts';

/* The server as a user starts it, with DOCKER_HOST set: the same services, in containers. */

const BUILDCTL = 'buildctl';
const HINT =
  'this test needs a Docker or Podman engine on this machine, a BuildKit daemon and a registry that both may use: set DOCKER_HOST ' +
  '(unix:///path), BUILDKIT_HOST (tcp://host:port) and REGISTRY_HOST (host:port), and have buildctl on PATH';
const { DOCKER_HOST = '', BUILDKIT_HOST = '', REGISTRY_HOST = '' } = process.env;
const image = `${REGISTRY_HOST}/sluice-test/e2e-${randomBytes(4).toString('hex')}:v1`;
const secret = `secret-${randomBytes(8).toString('hex')}`;

let data: string;
let server: Server | undefined;

beforeAll(async () => {
  if (DOCKER_HOST === '' || BUILDKIT_HOST === '' || REGISTRY_HOST === '') throw new Error(HINT);
  const context = await tempFolder();
  await writeFile(join(context, 'Dockerfile'), 'FROM busybox\nRUN echo "from the image" > /mark\n');
  const args = ['build', '--progress=plain', '--frontend=dockerfile.v0', `--local=context=${context}`];
  args.push(`--local=dockerfile=${context}`, `--output=type=image,name=${image},push=true`);
  const child = spawn(BUILDCTL, args, { stdio: ['ignore', 'ignore', 'pipe'] });
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    said += text;
  });
  await once(child, 'close');
  if (child.exitCode !== 0) throw new Error(`${BUILDCTL} ended with ${child.exitCode}: ${said}`);
  await removeFolder(context);
});
beforeEach(async () => {
  data = await tempFolder();
});
afterEach(async () => {
  await server?.stop();
  server = undefined;
  await removeFolder(data);
});

const start = async (folder = data): Promise<Server> =>
  startServer({
    data: folder,
    env: { DOCKER_HOST, SLUICE_TEST_MARK: secret, AWS_SECRET_ACCESS_KEY: secret },
  });

async function ended(of: Server, service: string, count = 1): Promise<readonly RunView[]> {
  return waitFor(
    `${count} runs of ${service} to end`,
    async () => {
      const runs = await runsOf(of, service, 'succeeded,failed,cancelled');
      return runs.length >= count ? runs : undefined;
    },
    120_000,
  );
}

async function put(of: Server, bucket: string, name: string, text: string): Promise<void> {
  await mkdir(join(of.data, 'buckets', bucket, 'in'), { recursive: true });
  await writeFile(join(of.data, 'buckets', bucket, 'in', name), text);
}

async function logOf(of: Server, run: RunView | undefined): Promise<string> {
  const answer = await of.request(`/system/runs/${run?.id}/log`);
  expect(answer.status).toBe(200);
  return answer.text();
}

/** Containers of one service on the engine, all installations together: services of these tests have names of their own. */
async function containersOf(service: string): Promise<readonly string[]> {
  const child = spawn('docker', ['ps', '-aq', '--filter', `label=sluice.service=${service}`], {
    env: { ...process.env, DOCKER_HOST },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let ids = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    ids += text;
  });
  await once(child, 'close');
  return ids.split('\n').filter((id) => id !== '');
}

describe('a server with DOCKER_HOST', () => {
  test('says so, refuses what no engine takes, and tells what it does not do', async () => {
    server = await start();
    const screen = server.stdout();
    expect(screen).toMatch(new RegExp(`executor +containers +DOCKER_HOST \\(${DOCKER_HOST}\\)`));
    expect(screen).toContain('Scripts run in containers');
    expect(screen).not.toContain('with the rights of user');
    const overview = (await (await server.request('/system/overview')).json()) as {
      adapters: Record<string, unknown>;
    };
    expect(overview.adapters['executor']).toMatchObject({ adapter: 'containers' });
    await expect(createService(server, 'odd', 'true\n', { image: 'Not/An@Image' })).rejects.toThrow(
      /400 .*image.*is not the name of an image/,
    );
    await expect(
      createService(server, 'odd', 'true\n', { sluice: { image_pull_policy: 'Sometimes' } }),
    ).rejects.toThrow(/400 .*sluice.image_pull_policy/);
    const body = { name: 'gpu', image, script: 'true\n', enable_gpu: true };
    const answer = await server.request('/system/services', { method: 'POST', body: JSON.stringify(body) });
    expect(answer.status).toBe(201);
    const said = JSON.stringify([...answer.headers]) + (await answer.text());
    expect(said).toContain('enable_gpu is not used');
    expect(said).not.toContain('image is not used');
  });

  test('a script finds nothing of the server: no variable, no secret, no path but its work folder', async () => {
    server = await start();
    const script = [
      'cat /mark; env; cat /proc/*/environ 2>/dev/null | tr "\\0" "\\n"; ls /var/run/docker.sock 2>&1',
      'cd "$TMP_INPUT_DIR/../../.." && find . | sed "s/^/seen=/"; cat admin-password sluice.db 2>&1; true',
    ].join('\n');
    await createService(server, 'curious', script, { image, log_level: 'CRITICAL' });
    await put(server, 'curious', 'a.txt', 'a');
    const [run] = await ended(server, 'curious');
    expect(run).toMatchObject({ state: 'succeeded' });
    const log = await logOf(server, run);
    expect(log).toContain('from the image');
    for (const word of [secret, server.password, 'SLUICE_DATA', 'DOCKER_HOST', 'presign-key', 'buckets'])
      expect(log).not.toContain(word);
    expect(log).toMatch(/admin-password.*No such file/);
    expect(log).toMatch(/docker.sock.*No such file/);
    const seen = log.split('\n').flatMap((line) => (line.startsWith('seen=') ? [line.slice(5)] : []));
    const work = `./work/${run?.id}.1`;
    expect(seen.filter((path) => !path.startsWith(`${work}/`)).toSorted()).toEqual(['.', './work', work]);
  });

  test('killed: its containers go on, and the next start removes them and runs the file again', async () => {
    server = await start();
    const name = `killed-${randomBytes(4).toString('hex')}`;
    const script =
      'echo "$SLUICE_ATTEMPT" > "$TMP_OUTPUT_DIR/attempt"; case $SLUICE_ATTEMPT in */1) sleep 600;; esac\n';
    await createService(server, name, script, { image });
    await put(server, name, 'a.txt', 'a');
    await waitFor(
      'it to run',
      async () => {
        const [run] = await runsOf(server as Server, name, 'running');
        return run;
      },
      60_000,
    );
    const before = await containersOf(name);
    expect(before.length).toBe(1);
    await server.stop('SIGKILL');
    expect(await containersOf(name)).toEqual(before);
    server = await start();
    const [run] = await ended(server, name);
    expect(run).toMatchObject({ state: 'succeeded', attempt: 2 });
    expect(await containersOf(name)).toEqual([]);
    expect(await readFile(join(data, 'buckets', name, 'out/attempt'), 'utf8')).toBe(`${run?.id}/2\n`);
    expect((await readdir(join(data, 'work'))).filter((one) => !one.startsWith('.'))).toEqual([]);
  });

  test('synchronous calls: one warm container answers them, a kill leaves it, the next start removes it', async () => {
    server = await start();
    const name = `calls-${randomBytes(4).toString('hex')}`;
    const script = 'cat /mark; cat "$INPUT_FILE_PATH"; echo; cat /etc/hostname; exit $CODE\n';
    const environment = { variables: { CODE: '0' } };
    await createService(server, name, script, { image, environment, log_level: 'CRITICAL', output: [] });
    const call = async (of: Server, body: string): Promise<string> => {
      const authorization = `Bearer ${await tokenOf(of, name)}`;
      const answer = await of.request(`/run/${name}`, { method: 'POST', body, headers: { authorization } });
      expect(answer.status).toBe(200);
      return answer.text();
    };
    const [first, second] = [await call(server, '{"a":1}'), await call(server, '{"b":2}')];
    expect(first).toMatch(/^from the image\n\{"a":1\}\n/);
    expect(second).toBe(first.replace('{"a":1}', '{"b":2}'));
    const before = await containersOf(name);
    expect(before.length).toBe(1);
    await server.stop('SIGKILL');
    expect(await containersOf(name)).toEqual(before);
    server = await start();
    expect(await containersOf(name)).not.toContain(before[0]);
    expect(await call(server, '{"c":3}')).toContain('{"c":3}');
    await server.stop();
    expect(await containersOf(name)).toEqual([]);
  });

  test('stopped: what runs is ended, removed, and run again after the start', async () => {
    server = await start();
    const name = `stopped-${randomBytes(4).toString('hex')}`;
    await createService(server, name, 'case $SLUICE_ATTEMPT in */1) sleep 600;; esac\n', { image });
    await put(server, name, 'a.txt', 'a');
    await waitFor('it to run', async () => (await runsOf(server as Server, name, 'running'))[0], 60_000);
    expect(await server.stop()).toMatchObject({ code: 0 });
    expect(await containersOf(name)).toEqual([]);
    server = await start();
    expect((await ended(server, name))[0]).toMatchObject({ state: 'succeeded' });
  });

  test('an image that is not there fails the run with a sentence, at once', async () => {
    server = await start();
    await createService(server, 'absent', 'true\n', { image: `${REGISTRY_HOST}/sluice-test/absent:v9` });
    await put(server, 'absent', 'a.txt', 'a');
    const [run] = await ended(server, 'absent');
    expect(run).toMatchObject({ state: 'failed', attempt: 1, failure: { code: 'image_not_found' } });
    expect((await runOf(server, run?.id ?? '')).failure?.message).toContain('sluice-test/absent:v9');
  });
});

describe('is refused with a sentence', () => {
  test('when DOCKER_HOST is no address, and when nobody answers there', async () => {
    const bad = await startRefused({ SLUICE_DATA: data, DOCKER_HOST: 'docker.sock' });
    expect(bad.code).toBe(1);
    expect(bad.stderr).toMatch(/DOCKER_HOST: "docker.sock" is not an address: write unix:\/\//);
    const away = await startRefused({ SLUICE_DATA: data, DOCKER_HOST: `unix://${join(data, 'none.sock')}` });
    expect(away.code).toBe(1);
    expect(away.stderr).toMatch(
      /DOCKER_HOST: .*ENOENT.*Start the engine, correct the address, or unset DOCKER_HOST/,
    );
  });
});

/** OSCAR §2.5 and its well-known example: a message in JSON, said by an animal. */
const fdl = `functions:
  oscar:
  - oscar-cluster:
      name: copy
      image: IMAGE
      script: copy.sh
      log_level: CRITICAL
      input:
      - storage_provider: minio.default
        path: copy/in
      output:
      - storage_provider: minio.default
        path: copy/out
  - oscar-cluster:
      name: cow
      memory: 128Mi
      cpu: '0.5'
      image: IMAGE
      script: cow.sh
      log_level: CRITICAL
      environment:
        variables:
          INPUT_TYPE: json
      input:
      - storage_provider: minio
        path: /cow/in/
      output:
      - storage_provider: minio
        path: cow/out
        suffix:
        - .txt
`;
const scripts = {
  'copy.sh': '#!/bin/sh\ncp "$INPUT_FILE_PATH" "$TMP_OUTPUT_DIR"\n',
  'cow.sh': `#!/bin/sh
[ "$INPUT_TYPE" = json ] || exit 4
message=$(sed -n 's/.*"message"[ ]*:[ ]*"\\([^"]*\\)".*/\\1/p' "$INPUT_FILE_PATH")
name=$(basename "$INPUT_FILE_PATH" .json)
printf ' < %s >\\n   \\\\ ^__^\\n     (oo)\\n' "$message" | tee "$TMP_OUTPUT_DIR/$name.txt"
echo left out > "$TMP_OUTPUT_DIR/$name.log"
[ -n "$message" ] || { echo "no message in $name" >&2; exit 3; }
`,
};

interface Seen {
  readonly files: Record<string, string>;
  readonly runs: readonly unknown[];
  readonly logs: readonly string[];
}

/** Applies the FDL file as it is and gives both services files; what comes of it, without times and ids. */
async function use(of: Server): Promise<Seen> {
  for (const [name, text] of Object.entries(scripts)) await writeFile(join(of.data, name), text);
  await writeFile(join(of.data, 'services.yaml'), fdl.replaceAll('IMAGE', image));
  const applied = await of.sluice('apply', join(of.data, 'services.yaml'));
  expect(applied.code, applied.stderr).toBe(0);
  await put(of, 'copy', 'ä b.bin', 'bytes \u0000 and more\n');
  await put(of, 'cow', 'one.json', '{"message": "Moo, \u00fcber all"}');
  await put(of, 'cow', 'two.json', '{"other": 1}');
  const runs = [...(await ended(of, 'copy')), ...(await ended(of, 'cow', 2))];
  runs.sort((a, b) => (a.input?.key ?? '').localeCompare(b.input?.key ?? ''));
  const files: Record<string, string> = {};
  const logs: string[] = [];
  for (const service of ['copy', 'cow']) {
    const folder = join(of.data, 'buckets', service, 'out');
    for (const name of await readdir(folder))
      files[`${service}/${name}`] = await readFile(join(folder, name), 'latin1');
  }
  for (const run of runs) logs.push(await logOf(of, run));
  return {
    files,
    runs: runs.map(({ service, state, attempt, exit_code, failure, input, outputs }) => ({
      service,
      state,
      attempt,
      exit_code,
      failure,
      input: input?.key,
      outputs: outputs?.map(({ key, size }) => ({ key, size })),
    })),
    logs,
  };
}

async function useAndStop(of: Server): Promise<Seen> {
  try {
    return await use(of);
  } finally {
    await of.stop();
  }
}

describe('the same services, unchanged', () => {
  let folders: string[];
  beforeAll(async () => {
    folders = [await tempFolder(), await tempFolder()];
  });
  afterAll(async () => {
    for (const folder of folders) await removeFolder(folder);
  });

  test('give the same outputs, outcomes and logs as processes and in containers', async () => {
    const [first = '', second = ''] = folders;
    const processes = await startServer({ data: first });
    const ofProcesses = await useAndStop(processes);
    const containers = await start(second);
    const ofContainers = await useAndStop(containers);
    expect(Object.keys(ofProcesses.files).toSorted()).toEqual(['copy/ä b.bin', 'cow/one.txt']);
    expect(ofProcesses.files['cow/one.txt']).toContain('Moo');
    expect(ofProcesses.logs.join()).toContain('Moo');
    expect(ofContainers).toEqual(ofProcesses);
  });
});
