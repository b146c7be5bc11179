import { mkdtemp, rm, utimes } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  createFolderObjectStore,
  createPresigner,
  createSqliteObjectIndex,
  openDatabase,
} from '@sluice/shared/adapters';
import { Secret } from '@sluice/shared/config';
import { systemClock as clock } from '@sluice/shared/lifecycle';
import { SYSTEM_BUCKET } from '@sluice/shared/stores';
import { silentLogger } from '@sluice/shared/telemetry';
import { expect, test } from 'vitest';
import { removeOldEvents } from '@sluice/shared/stores';

test('only events that were not used for long are removed', async () => {
  const root = await mkdtemp(join(tmpdir(), 'sluice-upkeep-'));
  const log = silentLogger();
  const db = openDatabase({ path: join(root, 'sluice.db'), clock, log });
  const objects = await createFolderObjectStore({
    bucketsRoot: join(root, 'buckets'),
    systemRoot: join(root, 'system'),
    tempRoot: join(root, 'tmp'),
    index: createSqliteObjectIndex(db),
    clock,
    log,
    presign: createPresigner({ key: new Secret('key'), baseUrl: () => '', clock }),
  });
  await objects.createBucket(SYSTEM_BUCKET, {});
  for (const key of ['events/old', 'events/new', 'scripts/old']) {
    await objects.put(SYSTEM_BUCKET, key, Buffer.from(key));
  }
  const old = new Date('2020-01-01');
  for (const key of ['events/old', 'scripts/old']) await utimes(join(root, 'system', key), old, old);
  expect(await removeOldEvents(objects, Date.parse('2021-01-01'))).toBe(1);
  const left = await objects.list(SYSTEM_BUCKET, { prefix: '', limit: 10 });
  expect(left.objects.map((object) => object.key)).toEqual(['events/new', 'scripts/old']);
  await objects.close();
  await db.close();
  await rm(root, { recursive: true, force: true });
});
