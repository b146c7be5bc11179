import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { NatsDefinitionStore } from '../../src/adapters/index.ts';
import type { Nats } from '../../src/adapters/nats-connection.ts';
import type { DefinitionChange, DefinitionStore, StoredDefinition } from '../../src/stores/index.ts';
import { eventually } from '../../src/testing/index.ts';
import { boxOf, inputOf, openTestNats, openTestStore, randomKey } from './nats-kv-fixture.ts';
import { type OwnNats, startOwnNats, startWire, type Wire } from './nats-kv-server.ts';

const box = boxOf(randomKey('test'));
const namespace = 'faults';

let server: OwnNats;
let wire: Wire;
let connections: Nats[];
let writer: NatsDefinitionStore;
let watcher: NatsDefinitionStore;
beforeEach(async () => {
  server = await startOwnNats();
  wire = await startWire(server.port);
  connections = [await openTestNats(server.url), await openTestNats(wire.url)];
  const [direct, wired] = connections;
  if (direct === undefined || wired === undefined) throw new Error('not connected');
  writer = await openTestStore(direct, namespace, box);
  watcher = await openTestStore(wired, namespace, undefined);
});
afterEach(async () => {
  await Promise.all([writer.close(), watcher.close()]);
  await Promise.all(connections.map(async (nats) => nats.close()));
  await wire.close();
  await server.close();
});

/** What a watcher believes, and every removal that it was told. */
interface Seen {
  readonly now: Map<string, StoredDefinition>;
  readonly removed: string[];
}

async function follow(store: DefinitionStore): Promise<Seen> {
  const seen: Seen = { now: new Map(), removed: [] };
  await store.watch((change: DefinitionChange) => {
    if (change.kind === 'put') {
      seen.now.set(change.stored.name, change.stored);
      return;
    }
    seen.removed.push(change.uid);
    // A removal of one that was replaced must not take away its successor.
    if (seen.now.get(change.name)?.uid === change.uid) seen.now.delete(change.name);
  });
  return seen;
}

async function truth(): Promise<ReadonlyMap<string, StoredDefinition>> {
  return new Map((await writer.list({ limit: 1000 })).items.map((stored) => [stored.name, stored]));
}

async function agrees(seen: Seen): Promise<boolean> {
  const wanted = [...(await truth()).values()].map(({ uid, version }) => `${uid}/${version}`);
  const found = [...seen.now.values()].map(({ uid, version }) => `${uid}/${version}`);
  return wanted.sort().join(' ') === found.sort().join(' ');
}

describe('a watch over NATS', () => {
  it('is right again after the server was killed and definitions changed unseen', async () => {
    const [kept, gone, remade] = await Promise.all(
      ['kept', 'gone', 'remade'].map(async (name) => writer.create(inputOf(name))),
    );
    if (kept === undefined || gone === undefined || remade === undefined) throw new Error('not created');
    const seen = await follow(watcher);
    expect(await agrees(seen)).toBe(true);
    wire.cut();
    await server.kill();
    await server.start();
    await eventually('the writer is connected again', () => connections[0]?.connected(), 20_000);
    await writer.update(kept, inputOf('kept'));
    await writer.remove('gone');
    await writer.remove('remade');
    await writer.create(inputOf('remade'));
    await writer.create(inputOf('fresh'));
    expect(await agrees(seen)).toBe(false);
    wire.mend();
    await eventually('the watcher agrees', async () => agrees(seen), 20_000);
    expect(seen.removed.sort()).toEqual([gone.uid, remade.uid].sort());
    // And it goes on.
    await writer.remove('fresh');
    await eventually('the watcher hears what comes next', () => !seen.now.has('fresh'));
  });

  it('notices what was lost on a connection that never broke', async () => {
    const first = await writer.create(inputOf('quiet'));
    const seen = await follow(watcher);
    wire.deafen();
    await writer.update(first, inputOf('quiet'));
    await eventually('the writer sees it', async () => (await writer.get('quiet'))?.version === 2);
    wire.mend();
    // Nothing else changes: only the heartbeat tells.
    await eventually('the watcher agrees', async () => agrees(seen), 20_000);
  });

  it('forgets what a server has lost with its disk', async () => {
    const lost = await writer.create(inputOf('lost'));
    const seen = await follow(watcher);
    await server.kill();
    await server.wipe();
    await server.start();
    await eventually('both are connected again', () => connections.every((nats) => nats.connected()), 20_000);
    const [direct] = connections;
    if (direct === undefined) throw new Error('not connected');
    // Whoever opens the store makes its buckets anew, with revisions from 1.
    const anew = await openTestStore(direct, namespace, box);
    await anew.create(inputOf('fresh'));
    await anew.close();
    await eventually('the watcher agrees', () => seen.now.has('fresh') && !seen.now.has('lost'), 20_000);
    expect(seen.removed).toEqual([lost.uid]);
  });
});

describe('without the server', () => {
  it('every call fails at once, and works again when it is back', async () => {
    const stored = await writer.create(inputOf('s'));
    await writer.list({ limit: 10 });
    await server.kill();
    await eventually('the loss is noticed', () => connections[0]?.connected() === false);
    const started = performance.now();
    for (const call of [
      writer.get('s'),
      writer.create(inputOf('t')),
      writer.update(stored, inputOf('s')),
      writer.remove('s'),
      writer.list({ limit: 10 }),
      writer.lowestFloor(),
      writer.secrets('x', 1),
    ])
      await expect(call).rejects.toMatchObject({ code: 'unavailable' });
    expect(performance.now() - started).toBeLessThan(2000);
    await server.start();
    await eventually('it is connected again', () => connections[0]?.connected(), 20_000);
    await writer.update(stored, inputOf('s'));
    expect((await writer.list({ limit: 10 })).items).toMatchObject([{ name: 's', version: 2 }]);
  });
});
