import type { ServerResponse } from 'node:http';
import { createKubeInformer, type KubeConnection, type KubeInformer } from '@sluice/scheduler/adapters';
import { systemClock } from '@sluice/shared/lifecycle';
import { silentLogger } from '@sluice/shared/telemetry';
import { eventually } from '@sluice/shared/testing';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { connectTo, json, startFakeKube, status, type FakeKube } from '../fake-kube.ts';

describe('an informer', () => {
  let fake: FakeKube;
  let connection: KubeConnection;
  let informer: KubeInformer<string> | undefined;
  let store: Map<string, string>;
  let version: number;
  /** The watch that is open. */
  let stream: ServerResponse | undefined;
  let onList: ((response: ServerResponse) => boolean) | undefined;
  let onWatch: ((response: ServerResponse) => boolean) | undefined;
  const changes: string[] = [];

  const objectOf = (name: string): object => ({
    metadata: { name, resourceVersion: `${version}` },
    value: store.get(name) ?? '',
  });

  beforeEach(async () => {
    store = new Map([['a', '1']]);
    version = 10;
    stream = undefined;
    onList = undefined;
    onWatch = undefined;
    changes.length = 0;
    fake = await startFakeKube((request, response) => {
      if (request.query.get('watch') === null) {
        if (onList?.(response) === true) return;
        const items = [...store.keys()].map(objectOf);
        json(response, 200, { items, metadata: { resourceVersion: `${version}` } });
        return;
      }
      if (onWatch?.(response) === true) return;
      response.writeHead(200, { 'content-type': 'application/json' });
      response.flushHeaders();
      stream = response;
    });
    connection = await connectTo(fake);
  });
  afterEach(async () => {
    await informer?.stop();
    await connection.close();
    await fake.close();
  });

  async function follow(relistMs?: number): Promise<KubeInformer<string>> {
    informer = createKubeInformer<string>({
      connection,
      resource: 'pods',
      labels: 'x=y',
      project: (object) => (object as { value: string }).value,
      onChange: (name, before, after) => changes.push(`${name}:${before ?? '-'}>${after ?? '-'}`),
      clock: systemClock,
      random: () => 0,
      log: silentLogger(),
      ...(relistMs === undefined ? {} : { relistMs }),
    });
    await informer.ready(5000);
    await watching();
    return informer;
  }
  const watching = (): Promise<ServerResponse> => eventually('a watch', () => stream);
  const send = (type: string, object: object): void => {
    stream?.write(`${JSON.stringify({ type, object })}\n`);
  };
  const put = (name: string, value: string): void => {
    store.set(name, value);
    version += 1;
    send('MODIFIED', objectOf(name));
  };
  const lists = (): number => fake.requests.filter(({ query }) => query.get('watch') === null).length;

  test('tells what it lists, and what changes after that', async () => {
    const { objects, isCurrent } = await follow();
    put('b', '2');
    put('a', '3');
    version += 1;
    send('DELETED', objectOf('b'));
    await eventually('the changes', () => changes.length === 4);
    expect(changes).toEqual(['a:->1', 'b:->2', 'a:1>3', 'b:2>-']);
    expect([...objects]).toEqual([['a', '3']]);
    expect(isCurrent()).toBe(true);
    expect(fake.requests[0]?.query.get('resourceVersion')).toBe('0');
  });

  test('goes on from the last bookmark when the server ends a watch', async () => {
    await follow();
    version = 77;
    send('BOOKMARK', { metadata: { resourceVersion: '77' } });
    const ended = stream;
    stream = undefined;
    ended?.end();
    await watching();
    expect(fake.requests.at(-1)?.query.get('resourceVersion')).toBe('77');
    expect(lists()).toBe(1);
  });

  /** What happens while it does not look is seen by the list after the fault. */
  async function expectRelist(fault: () => void): Promise<void> {
    await follow();
    store.delete('a');
    store.set('c', '9');
    version += 5;
    const before = stream;
    stream = undefined;
    fault();
    before?.destroy();
    await watching();
    await eventually('the list', () => changes.includes('a:1>-') && changes.includes('c:->9'));
    put('d', '1');
    await eventually('the watch', () => changes.at(-1) === 'd:->1');
  }

  test('lists again when a watch is cut', async () => {
    await expectRelist(() => undefined);
    expect(lists()).toBe(2);
  });

  test('lists again, exactly, when its version has become too old', async () => {
    await follow();
    store.set('c', '9');
    const before = stream;
    stream = undefined;
    before?.write(`${JSON.stringify({ type: 'ERROR', object: { code: 410, message: 'too old' } })}\n`);
    await watching();
    await eventually('the list', () => changes.at(-1) === 'c:->9');
    const list = fake.requests.findLast(({ query }) => query.get('watch') === null);
    expect(list?.query.get('resourceVersion')).toBeNull();
  });

  test.each([
    ['500 to its watch', (response: ServerResponse) => status(response, 500, 'oh')],
    ['403 to its watch', (response: ServerResponse) => status(response, 403, 'forbidden')],
    ['a line that is no JSON', (response: ServerResponse) => response.writeHead(200).end('{"type\n')],
    [
      'an object without metadata',
      (response: ServerResponse) => response.end('{"type":"ADDED","object":{}}\n'),
    ],
  ])('survives %s', async (_what, answer) => {
    let left = 3;
    await expectRelist(() => {
      onWatch = (response) => {
        left -= 1;
        if (left < 0) return false;
        answer(response);
        return true;
      };
    });
    expect(left).toBe(-1);
  });

  test('survives an API server that is away for a while', async () => {
    let left = 7;
    await expectRelist(() => {
      onList = (response) => {
        left -= 1;
        if (left < 0) return false;
        response.destroy();
        return true;
      };
    });
    expect(left).toBe(-1);
  });

  test('lists again now and then although nothing seems to be missing', async () => {
    await follow(0);
    const before = lists();
    store.set('e', '5');
    const ended = stream;
    stream = undefined;
    ended?.end();
    await watching();
    expect(lists()).toBe(before + 1);
    expect(changes.at(-1)).toBe('e:->5');
  });

  test('says when it is not ready, and stops at once', async () => {
    onList = (response) => {
      response.destroy();
      return true;
    };
    informer = createKubeInformer<string>({
      connection,
      resource: 'jobs',
      labels: 'x=y',
      project: () => undefined,
      onChange: () => undefined,
      clock: systemClock,
      random: () => 0,
      log: silentLogger(),
    });
    await expect(informer.ready(50)).rejects.toMatchObject({ code: 'unavailable' });
    await informer.stop();
    expect(informer.isCurrent()).toBe(false);
  });
});
