import { eventually } from '@sluice/shared/testing';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { output } from '../integration/support.ts';
import { createContainerHarness, type ContainerHarness } from './container-support.ts';

let harness: ContainerHarness;
beforeAll(async () => {
  harness = await createContainerHarness();
});
afterAll(async () => {
  await harness.close();
});

/** What a script printed, by the names it printed it under: `name=value`. */
async function told(script: string, definition = {}): Promise<Record<string, string>> {
  const { outcome, log } = await harness.perform({
    script,
    definition: { log_level: 'CRITICAL', ...definition },
  });
  expect(outcome, log).toMatchObject({ result: 'succeeded' });
  const lines = log.split('\n').map((line) => line.split('='));
  return Object.fromEntries(lines.map(([name = '', ...value]) => [name, value.join('=')]));
}

describe('what a script finds in its container', () => {
  test('its image, its input, its variables; its output is uploaded', async () => {
    const script = [
      'cat "$INPUT_FILE_PATH" > "$TMP_OUTPUT_DIR/copy"',
      'mkdir -p "$TMP_OUTPUT_DIR/closed" "$HOME/cache" && echo x > "$TMP_OUTPUT_DIR/closed/file" && chmod 000 "$TMP_OUTPUT_DIR/closed"',
      'mkdir locked && touch locked/file && chmod 000 locked/file locked',
      'echo "greeting=$GREETING"; echo "path=$PATH"; echo "home=$HOME"; pwd; touch /tmp/works; busybox | head -1',
    ].join('\n');
    const { outcome, log, phases } = await harness.perform({
      script,
      body: 'aGVsbG8=',
      definition: { environment: { variables: { GREETING: 'a b=c' }, secrets: {} } },
    });
    expect(outcome, log).toMatchObject({ result: 'succeeded', script_started: true, exit_code: 0 });
    expect(outcome.outputs.map((one) => one.key)).toContain('out/copy');
    expect(harness.store.objects.get('photos/out/copy')?.bytes.toString()).toBe('hello');
    expect(log).toMatch(/the image busybox is sha256:[0-9a-f]{64}/);
    expect(log).toMatch(/greeting=a b=c\npath=\/[a-z/:]+\n/);
    expect(log).not.toContain(`path=${process.env['PATH']}\n`);
    expect(log).toMatch(/home=\/.*\/work\/.*\.1\n\/.*\/work\/.*\.1\nBusyBox/);
    expect(phases).toContain('running');
  });

  test('no privileges, and the declared limits', async () => {
    const facts = await told(
      [
        `awk '/^Cap|^NoNewPrivs/ { sub(":", "="); gsub("[ \\t]", ""); print }' /proc/self/status`,
        'first() { for file; do [ -e "$file" ] && cat "$file" && return; done; }',
        'echo memory=$(first /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes)',
        'echo cpu=$(first /sys/fs/cgroup/cpu.max /sys/fs/cgroup/cpu/cpu.cfs_quota_us)',
        'echo pids=$(first /sys/fs/cgroup/pids.max /sys/fs/cgroup/pids/pids.max)',
        'echo user=$(id -u):$(id -g)',
        'chown 1:1 /tmp 2>/dev/null && echo chown=worked || echo chown=refused',
        'mount -t tmpfs none /mnt 2>/dev/null && echo mount=worked || echo mount=refused',
        '[ -e /var/run/docker.sock ] && echo socket=there || echo socket=absent',
      ].join('\n'),
      { memory: '48Mi', cpu: '0.3' },
    );
    const none = '0000000000000000';
    expect(facts).toMatchObject({ CapInh: none, CapPrm: none, CapEff: none, CapBnd: none, CapAmb: none });
    expect(facts).toMatchObject({ NoNewPrivs: '1', memory: `${48 * 2 ** 20}`, pids: '4096' });
    expect(facts['cpu']).toMatch(/^30000( 100000)?$/);
    expect(facts['user']).toBe(`${process.getuid?.()}:${process.getgid?.()}`);
    expect(facts).toMatchObject({ chown: 'refused', mount: 'refused', socket: 'absent' });
  });

  test('no network unless the service asks for it', async () => {
    const script = 'echo interfaces=$(ls /sys/class/net | tr "\\n" " ")\n';
    expect((await told(script))['interfaces']).toBe('lo');
    expect((await told(script, { sluice: { network: true } }))['interfaces']).toMatch(/eth0|tap0/);
  });

  test('of this machine the work folder and the script, and nothing of the server’s variables', async () => {
    const facts = await told(
      'echo "mounts=$(awk \'{ print $5 }\' /proc/self/mountinfo | grep -E "^/(tmp|home|root|sluice|work|var)" | tr "\\n" " ")"; echo "env=$(env | tr "\\n" " ")"; touch /sluice/script.sh 2>/dev/null && echo script=writable; ls -a . | wc -l\n',
    );
    const mounts = (facts['mounts'] ?? '').trim().split(' ').sort();
    expect(mounts).toEqual([
      '/sluice/script.sh',
      expect.stringMatching(new RegExp(`^${harness.dir}/work/demo-[0-9-]+\\.1$`)),
    ]);
    expect(facts['script']).toBeUndefined();
    const names = (facts['env'] ?? '').match(/\b[A-Za-z_]+(?==)/g) ?? [];
    const ours =
      /^(EVENT|HOME|HOSTNAME|JOB_UUID|OSCAR_SERVICE_\w+|PATH|PWD|RESOURCE_ID|SHLVL|SLUICE_(ATTEMPT|INSTANCE|RUN_ID)|TMP_(INPUT|OUTPUT)_DIR|INPUT_FILE_PATH|TRACEPARENT)$/;
    expect(names.filter((name) => !ours.test(name))).toEqual([]);
  });
});

describe('what it prints', () => {
  test('both streams in the order they were written', async () => {
    const script = 'i=0; while [ $i -lt 300 ]; do echo "out $i"; echo "err $i" >&2; i=$((i+1)); done\n';
    const { log } = await harness.perform({ script, definition: { log_level: 'CRITICAL' } });
    const expected = Array.from({ length: 300 }, (_, i) => `out ${i}\nerr ${i}\n`).join('');
    expect(log).toBe(expected);
  });

  test('all of it, and the script waits for whoever reads slowly', async () => {
    let bytes = 0;
    const gate = Promise.withResolvers<void>();
    const performing = harness.perform(
      {
        script: 'head -c 8000000 /dev/zero; echo; echo done > "$TMP_OUTPUT_DIR/done"\n',
        definition: { log_level: 'CRITICAL' },
      },
      {
        output: {
          write: async (chunk) => {
            bytes += chunk.length;
            await gate.promise;
          },
        },
      },
    );
    const running = await eventually('output', () => bytes > 0 && harness.containers(), 60_000);
    // It cannot have ended: what it has still to print fits into no buffer on the way.
    expect(running.length).toBe(1);
    expect(await harness.host.engine.inspect(running[0] ?? '')).toMatchObject({ running: true });
    gate.resolve();
    expect((await performing).outcome.result).toBe('succeeded');
    expect(bytes).toBeGreaterThanOrEqual(8_000_000);
  });
});

describe('how it ends', () => {
  test('out of memory is said, with the limit as it was written', async () => {
    const { outcome } = await harness.perform({
      script: 'echo begins; head -c 200000000 /dev/zero | tail -c 150000000 > /dev/null || exit 1\n',
      definition: { memory: '32Mi' },
    });
    expect(outcome).toMatchObject({
      result: 'failed',
      script_started: true,
      failure: { code: 'out_of_memory' },
    });
    expect(outcome.failure?.message).toContain('out of memory at 32Mi');
    expect(outcome.failure?.message).toContain('begins');
    expect(outcome.retryable).toBeUndefined();
  });

  test.each([
    ['exit 3', 3, 'exit code 3'],
    ['nosuchcommand', 127, 'a command in it was not found'],
    ['kill -9 $$', 137, 'SIGKILL'],
    ['kill $$', 143, 'exit code 143'],
  ])('%s', async (script, exitCode, sentence) => {
    const { outcome } = await harness.perform({ script });
    expect(outcome).toMatchObject({
      result: 'failed',
      exit_code: exitCode,
      failure: { code: 'script_failed' },
    });
    expect(outcome.failure?.message).toContain(sentence);
  });

  test('a time-out asks first, and is not to be refused', async () => {
    const script = 'trap "echo not yet" TERM; echo begins; while :; do sleep 0.05; done\n';
    const { outcome, log } = await harness.perform({ script, timeout_ms: 700 });
    expect(outcome).toMatchObject({ result: 'failed', failure: { code: 'timed_out' } });
    expect(log).toMatch(/begins\n(?:not yet\n)+/);
  });

  test('cancelled, with what it started', async () => {
    const abort = new AbortController();
    const { outcome } = await harness.perform(
      { script: 'sleep 600 & sleep 600\n' },
      { signal: abort.signal, report: ({ phase }) => void (phase === 'running' && abort.abort()) },
    );
    expect(outcome.result).toBe('cancelled');
    expect(await harness.containers()).toEqual([]);
  });

  test('a process that is left behind ends with the container', async () => {
    const { outcome } = await harness.perform({ script: 'setsid sleep 600 & exit 0\n' });
    expect(outcome.result).toBe('succeeded');
  });

  test.each(['stop', 'kill'] as const)('ended by hand (%s): the attempt is lost', async (how) => {
    const performing = harness.perform({ script: 'sleep 600\n' });
    const [id] = await eventually(
      'it to run',
      async () => {
        const [one] = await harness.containers();
        const state = one === undefined ? undefined : await harness.host.engine.inspect(one);
        return state?.running === true && [one ?? ''];
      },
      60_000,
    );
    if (how === 'stop') await harness.host.engine.stop(id, 5000);
    else await harness.host.engine.kill(id);
    expect((await performing).outcome).toMatchObject({ result: 'lost', failure: { code: 'script_lost' } });
  });

  test('removed by hand: the attempt is lost', async () => {
    const performing = harness.perform({ script: 'sleep 600\n' });
    const [id] = await eventually(
      'it to run',
      async () => {
        const [one] = await harness.containers();
        const state = one === undefined ? undefined : await harness.host.engine.inspect(one);
        return state?.running === true && [one ?? ''];
      },
      60_000,
    );
    await harness.host.engine.remove(id);
    expect((await performing).outcome).toMatchObject({
      result: 'lost',
      script_started: true,
      failure: { code: 'script_lost', message: expect.stringContaining('container') as string },
    });
  });

  test('twenty side by side, each with its own', async () => {
    const all = await Promise.all(
      Array.from({ length: 20 }, async (_, index) =>
        harness.perform({
          script: `echo ${index} > "$TMP_OUTPUT_DIR/${index}"; echo "I am ${index}"\n`,
          definition: { output: [output('many/out')], log_level: 'CRITICAL', memory: '16Mi', cpu: '0.1' },
        }),
      ),
    );
    expect(all.map(({ outcome }) => outcome.result)).toEqual(Array.from({ length: 20 }, () => 'succeeded'));
    expect(all.map(({ log }) => log)).toEqual(Array.from({ length: 20 }, (_, index) => `I am ${index}\n`));
    expect(harness.store.objects.get('many/out/19')?.bytes.toString()).toBe('19\n');
  });
});

describe('what a killed server left', () => {
  test('its own containers are removed, those of another installation are not', async () => {
    const other = await createContainerHarness();
    const abort = new AbortController();
    const theirs = other.perform({ script: 'sleep 600\n' }, { signal: abort.signal });
    const mine = harness.perform({ script: 'sleep 600\n' });
    await eventually(
      'both to be there',
      async () => {
        return (await harness.containers()).length === 1 && (await other.containers()).length === 1;
      },
      60_000,
    );
    expect(await harness.host.removeLeftovers()).toBe(1);
    // Whose script has just ended is removed from two sides; the engine may show it until both are done.
    await eventually('mine to be gone', async () => (await harness.containers()).length === 0, 60_000);
    expect((await other.containers()).length).toBe(1);
    expect((await mine).outcome.result).not.toBe('succeeded');
    abort.abort();
    expect((await theirs).outcome.result).toBe('cancelled');
    await other.close();
  });
});
