import { once } from 'node:events';
import { createServer, type Socket } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  buildImage,
  createContainerHarness,
  digestOf,
  imageName,
  type ContainerHarness,
} from './container-support.ts';

let harness: ContainerHarness;
beforeAll(async () => {
  harness = await createContainerHarness();
});
afterAll(async () => {
  await harness.close();
});

const saying = (text: string): string[] => ['FROM busybox', `RUN echo ${text} > /said`];

async function said(image: string, policy?: string): Promise<string> {
  const sluice = policy === undefined ? {} : { sluice: { image_pull_policy: policy } };
  const { outcome, log } = await harness.perform({
    script: 'cat /said\n',
    definition: { image, log_level: 'CRITICAL', ...sluice },
  });
  expect(outcome, log).toMatchObject({ result: 'succeeded' });
  return log.trim();
}

describe('which image', () => {
  test('a tag that is pushed again is used by the next run; a digest and IfNotPresent stay', async () => {
    const image = await buildImage(`${imageName('pushed-again')}:v1`, saying('one'));
    const pinned = `${image.slice(0, -':v1'.length)}@${await digestOf(image)}`;
    expect(await said(image)).toBe('one');
    expect(await said(`docker://${image}`)).toBe('one');
    await buildImage(image, saying('two'));
    expect(await said(image, 'IfNotPresent')).toBe('one');
    expect(await said(image)).toBe('two');
    expect(await said(image, 'IfNotPresent')).toBe('two');
    expect(await said(pinned)).toBe('one');
    await buildImage(image, saying('three'));
    // Many at once join their pulls, and none of them joins one that began before.
    expect(await Promise.all(Array.from({ length: 5 }, async () => said(image)))).toEqual(
      Array.from({ length: 5 }, () => 'three'),
    );
  });

  test('the image’s entry point, user, variables, health check and volumes do not get in the way', async () => {
    const image = await buildImage(`${imageName('awkward')}:v1`, [
      'FROM busybox',
      'ENV HOME=/srv TOOL_HOME=/opt/tool PATH=/opt/tool/bin:/bin:/usr/bin',
      'USER 12345:12345',
      'VOLUME /kept',
      'WORKDIR /elsewhere',
      'STOPSIGNAL SIGINT',
      'HEALTHCHECK --interval=1s CMD touch /checked',
      'ENTRYPOINT ["/bin/false"]',
      'CMD ["nothing"]',
    ]);
    const { outcome, log } = await harness.perform({
      script: 'echo "$HOME $TOOL_HOME $PATH"; id -u; pwd; touch "$TMP_OUTPUT_DIR/made" /kept/file\n',
      definition: { image, log_level: 'CRITICAL' },
    });
    expect(outcome, log).toMatchObject({ result: 'succeeded' });
    const lines = log.trim().split('\n');
    expect(lines).toEqual([
      '/srv /opt/tool /opt/tool/bin:/bin:/usr/bin',
      `${process.getuid?.()}`,
      expect.stringContaining(`${harness.dir}/work/`),
    ]);
  });
});

describe('images that cannot be used', () => {
  test('one without /bin/sh: said so before anything is started', async () => {
    const image = await buildImage(`${imageName('bare')}:v1`, [
      'FROM busybox AS base',
      'FROM scratch',
      'COPY --from=base /bin/busybox /program',
    ]);
    const { outcome } = await harness.perform({ definition: { image } });
    expect(outcome).toMatchObject({
      result: 'failed',
      script_started: false,
      failure: { code: 'image_unusable', message: expect.stringContaining('has no /bin/sh') as string },
    });
    expect(outcome.retryable).toBeUndefined();
  });

  test('one that is not there is not asked for again', async () => {
    const image = `${imageName('never-pushed')}:v1`;
    const { outcome } = await harness.perform({ definition: { image } });
    expect(outcome).toMatchObject({
      result: 'failed',
      script_started: false,
      failure: { code: 'image_not_found' },
    });
    expect(outcome.failure?.message).toContain(image);
    expect(outcome.retryable).toBeUndefined();
  });

  test('a name that is none', async () => {
    const { outcome } = await harness.perform({ definition: { image: 'Not An Image' } });
    expect(outcome).toMatchObject({ failure: { code: 'image_not_found' } });
  });

  test('a registry that is away is worth another try', async () => {
    const { outcome } = await harness.perform({ definition: { image: '127.0.0.1:1/demo:v1' } });
    expect(outcome).toMatchObject({
      result: 'failed',
      script_started: false,
      retryable: true,
      failure: { code: 'image_pull_failed' },
    });
    expect(outcome.failure?.message).toContain('127.0.0.1:1/demo:v1');
  });

  test('a run that is cancelled while its image is pulled ends at once', async () => {
    const sockets: Socket[] = [];
    const asked = Promise.withResolvers<void>();
    const silent = createServer((socket) => {
      sockets.push(socket.on('error', () => undefined));
      asked.resolve();
    }).listen(0, '127.0.0.1');
    await once(silent, 'listening');
    const address = silent.address();
    const port = typeof address === 'object' ? address?.port : undefined;
    const abort = new AbortController();
    const performing = harness.perform(
      { definition: { image: `127.0.0.1:${port}/never:v1` } },
      { signal: abort.signal },
    );
    await asked.promise;
    abort.abort();
    expect((await performing).outcome).toMatchObject({ result: 'cancelled', script_started: false });
    silent.close();
    for (const socket of sockets) socket.destroy();
  });
});
