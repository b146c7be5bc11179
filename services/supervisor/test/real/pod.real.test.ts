import type { S3ObjectStore } from '@sluice/shared/adapters';
import { SYSTEM_BUCKET } from '@sluice/shared/stores';
import { eventually } from '@sluice/shared/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startAttempt, type AttemptParts, type StartedAttempt } from './pod-attempt.ts';
import {
  builtImage,
  kubectl,
  openStore,
  podEnd,
  podStatus,
  randomName,
  storageGrant,
} from './pod-support.ts';

const namespace = randomName('pods');
const bucket = randomName('pods');
const token = 'a-token-of-one-pod';
let store: S3ObjectStore;
let supervisor: string;

beforeAll(async () => {
  supervisor = await builtImage('supervisor');
  store = await openStore();
  await Promise.all([store.createBucket(SYSTEM_BUCKET, {}), store.createBucket(bucket, {})]);
  await kubectl(['create', 'namespace', namespace]);
}, 600_000);

afterAll(async () => {
  await kubectl(['delete', 'namespace', namespace, '--wait=false']);
  await store.deleteBucket(bucket);
  await store.close();
}, 60_000);

async function start(script: string, parts: AttemptParts = {}): Promise<StartedAttempt> {
  return startAttempt({ namespace, bucket, token, store, supervisor }, script, parts);
}

describe('a run in a pod', () => {
  it.each([
    ['busybox', undefined],
    ['debian:bookworm-slim', { supervisor: 4711, script: 4711 }],
    ['python:3.11-slim', { supervisor: 65_532, script: 1000 }],
  ])('of the image %s goes from the claim to the outcome', async (image, users) => {
    const script =
      'umask 077; cat "$INPUT_FILE_PATH" > "$TMP_OUTPUT_DIR/b.txt"; echo "printed by $SLUICE_RUN_ID"; id -u';
    const run = await start(script, { image, ...(users === undefined ? {} : { users }) });
    const status = await podEnd(namespace, run.runId);
    expect(await kubectl(['logs', '-n', namespace, run.runId, '-c', 'supervisor'])).toContain('printed by');
    expect(status.phase).toBe('Succeeded');
    expect(await run.textOf('b.txt')).toBe('hello');
    const record = await run.outcome();
    expect(record?.outcome).toMatchObject({ result: 'succeeded', exit_code: 0, script_started: true });
    expect(
      run.scheduler.reports.map((one) => (one.kind === 'progress' ? one.phase : one.outcome.result)),
    ).toEqual(['fetching', 'running', 'uploading', 'succeeded']);
    expect(await run.log()).toContain(`printed by ${run.runId}`);
    expect(status.initContainerStatuses?.[0]?.restartCount).toBe(0);
    await run.scheduler.close();
  });

  it('finds no key, no token and no address of ours in its container', async () => {
    const script = [
      'env; for p in /proc/[0-9]*; do tr "\\\\0" "\\\\n" < $p/environ; tr "\\\\0" " " < $p/cmdline; done 2>/dev/null',
      'ls -R /sluice /var/run/secrets 2>&1; find /sluice -type f -exec cat {} + 2>/dev/null; cat /proc/mounts; exit 0',
    ].join('\n');
    const run = await start(script);
    expect((await podEnd(namespace, run.runId)).phase).toBe('Succeeded');
    const seen = await run.log();
    expect(seen).toContain('SLUICE_RUN_ID=');
    const { secret_key: key } = storageGrant();
    for (const secret of [
      key,
      token,
      run.scheduler.url,
      storageGrant().endpoint,
      'serviceaccount/token',
      'nats:',
    ]) {
      expect(seen).not.toContain(secret);
    }
    await run.scheduler.close();
  });

  it('that fails ends its container with the same code, and uploads nothing', async () => {
    const run = await start('echo broken; echo x > "$TMP_OUTPUT_DIR/x"; exit 9');
    const status = await podEnd(namespace, run.runId);
    expect(status.containerStatuses?.[0]?.state.terminated?.exitCode).toBe(9);
    expect((await run.outcome())?.outcome).toMatchObject({ result: 'failed', exit_code: 9, outputs: [] });
    await expect(run.textOf('x')).rejects.toThrow('does not exist');
    await run.scheduler.close();
  });

  it('that takes too long, or that nobody wants any more, ends its pod', async () => {
    const slow = await start('echo runs; sleep 600', { timeoutMs: 500 });
    const unwanted = await start('echo never', { refuse: true });
    expect((await podEnd(namespace, slow.runId)).phase).toBe('Failed');
    expect((await slow.outcome())?.outcome.failure?.code).toBe('timed_out');
    expect((await podEnd(namespace, unwanted.runId)).phase).toBe('Failed');
    expect(await unwanted.outcome()).toBeUndefined();
    expect(unwanted.scheduler.asked).toEqual(['claim']);
    await Promise.all([slow.scheduler.close(), unwanted.scheduler.close()]);
  });

  it('that is deleted is lost by plan, with its log', async () => {
    const run = await start('echo runs; sleep 600');
    await eventually('its first line', async () => (await run.log()).includes('runs'), 60_000);
    await kubectl(['delete', 'pod', '-n', namespace, run.runId, '--wait=true']);
    const record = await run.outcome();
    expect(record?.outcome).toMatchObject({
      result: 'lost',
      script_started: true,
      failure: { code: 'planned_stop' },
    });
    // Why it was asked to end is the cluster's to say.
    expect(run.scheduler.reports.filter(({ kind }) => kind === 'finished')).toEqual([]);
    await run.scheduler.close();
  });

  it('goes on when its supervisor is killed', async () => {
    const script =
      'echo one; until [ -e /tmp/go ]; do sleep 0.1; done; echo two; echo x > "$TMP_OUTPUT_DIR/x"';
    // Process 1 of a container cannot be killed from inside: here it is another one.
    const users = { supervisor: 1000, script: 1000 };
    const run = await start(script, { users, sharedProcesses: true });
    await eventually('its first line', async () => (await run.log()).includes('one'), 60_000);
    const inside = ['exec', '-n', namespace, run.runId, '-c'];
    const kill = `const { readFileSync, readdirSync } = require('fs');
      for (const pid of readdirSync('/proc').filter(Number)) {
        const line = readFileSync('/proc/' + pid + '/cmdline', 'latin1');
        if (/^node.--disable/.test(line)) process.kill(Number(pid), 'SIGKILL');
      }`;
    let killedAt = -Infinity;
    await eventually(
      'the second supervisor',
      async () => {
        const { initContainerStatuses = [] } = await podStatus(namespace, run.runId);
        if ((initContainerStatuses[0]?.restartCount ?? 0) > 0) return true;
        if (performance.now() - killedAt < 15_000) return false;
        // Its own connection ends with it; one that was never made looks the same.
        await kubectl([...inside, 'supervisor', '--', 'node', '-e', kill]).catch(() => '');
        killedAt = performance.now();
        return false;
      },
      120_000,
    );
    await kubectl([...inside, 'script', '--', 'touch', '/tmp/go']);
    expect((await podEnd(namespace, run.runId)).phase).toBe('Succeeded');
    expect(await run.textOf('x')).toBe('x\n');
    expect(await run.log()).toMatch(/one\n[^]*two\n/);
    await run.scheduler.close();
  });
});
