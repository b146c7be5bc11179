import { afterAll, beforeAll, expect, test } from 'vitest';
import {
  openBuildRedis,
  openBuildRegistry,
  type BuilderServer,
  type OwnRegistry,
} from './support/builder-servers.ts';
import { needed } from './support/distributed.ts';
import { blocksOf, pages } from './support/doc-blocks.ts';
import { createReader, type Reader } from './support/doc-shell.ts';
import { removeFolder, run, tempFolder } from './support/server.ts';

// The commands of pages that need a builder, and the example whose image it makes, in containers.
let folder: string;
let reader: Reader;
let redis: BuilderServer & { readonly url: string };
let registry: OwnRegistry;
beforeAll(async () => {
  [folder, redis, registry] = await Promise.all([tempFolder(), openBuildRedis(), openBuildRegistry()]);
  reader = await createReader(folder, {
    DOCKER_HOST: needed('DOCKER_HOST'),
    REDIS_URL: redis.url,
    BUILDKIT_HOST: needed('BUILDKIT_HOST'),
    REGISTRY_HOST: registry.host,
    // Base images of well-known names are there.
    SLUICE_REGISTRY_MIRRORS: `docker.io=${needed('REGISTRY_HOST')}`,
    SLUICE_SETTLE_MS: '300',
  });
});
afterAll(async () => {
  await reader?.stop();
  await removePulled();
  await Promise.all([redis, registry].map(async (server) => server?.close()));
  if (folder) await removeFolder(folder);
});

/** Images that the engine has from a registry which is no more. */
async function removePulled(): Promise<void> {
  if (registry === undefined) return;
  const env = { DOCKER_HOST: needed('DOCKER_HOST') };
  const { stdout } = await run('docker', ['images', '--quiet', `${registry.host}/oscar`], { env });
  const ids = new Set(stdout.split('\n').filter((id) => id !== ''));
  if (ids.size > 0) await run('docker', ['rmi', '--force', ...ids], { env });
}

const blocks = pages()
  .flatMap((page) => blocksOf(page))
  .filter(({ runBy }) => runBy === 'e2e/builder-docs.real.test.ts')
  .map((block) => ({ where: `${block.page}:${block.line}`, block }));

test.each(blocks)('$where', async ({ block }) => {
  await expect(reader.follow(block)).resolves.toBeUndefined();
});
