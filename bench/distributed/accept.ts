import { jetstream, jetstreamManager, type StoredMsg } from '@nats-io/jetstream';
import { connect, headers } from '@nats-io/transport-node';
import { startServer } from '../../libs/shared/test/real/nats-own-server.ts';
import { startRedis } from '../../libs/shared/test/real/redis-server.ts';
import { kubectl, startDistributed, type Distributed } from '../../e2e/support/distributed.ts';
import { createService, tokenOf } from '../../e2e/support/service.ts';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { removeFolder, tempFolder } from '../../e2e/support/server.ts';
import { submitJobs } from '../submit.ts';
import { rate } from './figures.ts';
import type { Part } from './parts.ts';

const width = 64;
const streamBytes = 1024 ** 3;

/** `POST /job` beside publishing what it publishes, on servers of its own that sync what they are told to keep. */
export const benchAccept: Part = async ({ amounts, figures, say }) => {
  const folder = await tempFolder();
  const config = join(folder, 'nats.conf');
  await writeFile(config, 'jetstream { sync_interval: always }\n');
  const nats = await startServer(['-c', config]);
  const redis = await startRedis(['--appendonly', 'yes', '--maxmemory-policy', 'noeviction']);
  try {
    const form = await startDistributed({
      replicas: 1,
      servers: { NATS_URL: nats.url, REDIS_URL: redis.url },
      env: { NATS_STREAM_BYTES: `${streamBytes}` },
    });
    try {
      // One start holds the service's only place and gets no pod: what is measured is acceptance.
      await kubectl('create', 'quota', 'none', '--hard=pods=0', '-n', form.jobs);
      await createService(form, 'bench', 'true\n', { image: 'busybox', sluice: { max_concurrency: 1 } });
      const target = { url: form.apis[0] ?? '', token: await tokenOf(form, 'bench') };
      await submitJobs(target, 'bench', width);
      for (let round = 0; round < amounts.repeat; round += 1) {
        const bare = await publishRate(nats.url, form, amounts.submits);
        const accepted = await submitJobs(target, 'bench', amounts.submits);
        say(`accept: ${accepted.toFixed(0)}/s of ${bare.toFixed(0)}/s`);
        figures.note('JetStream publish alone, 64 at a time', '/s', bare);
        figures.note('POST /job accepted, 64 connections', '/s', accepted);
        figures.note('  ratio of the two', '', accepted / bare, 2);
      }
    } finally {
      await form.close();
    }
  } finally {
    await Promise.all([nats.close(), redis.close(), removeFolder(folder)]);
  }
};

/** Publishes copies of a start message to a stream that is set up as ours is. */
async function publishRate(server: string, form: Distributed, amount: number): Promise<number> {
  const connection = await connect({ servers: server });
  try {
    const manager = await jetstreamManager(connection);
    const ours = `${form.namespace}_CMD_RUNS_START`.toUpperCase();
    const { config } = await manager.streams.info(ours);
    const name = `BENCH_${Math.round(performance.now())}`;
    await manager.streams.add({ ...config, name, subjects: [`${name}.*`] });
    const sample: StoredMsg | null = await manager.streams.getMessage(ours, {
      last_by_subj: config.subjects[0] ?? '',
    });
    if (sample === null) throw new Error('no start message is waiting');
    const js = jetstream(connection);
    try {
      return await rate(amount, width, async (index) => {
        const head = headers();
        for (const [key, values] of sample.header) for (const value of values) head.append(key, value);
        head.set('Nats-Msg-Id', `${name}-${index}`);
        await js.publish(`${name}.bench`, sample.data, { headers: head });
      });
    } finally {
      await manager.streams.delete(name);
    }
  } finally {
    await connection.close();
  }
}
