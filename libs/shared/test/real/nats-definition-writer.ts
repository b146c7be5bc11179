import { writeSync } from 'node:fs';
import { createSecretKey } from 'node:crypto';
import { isAppError } from '../../src/errors/index.ts';
import { boxOf, inputOf, openTestNats, openTestStore } from './nats-kv-fixture.ts';

/** Changes services until it is killed, and says what it was told is done. */
const [namespace = '', keyText = ''] = process.argv.slice(2);
const nats = await openTestNats();
const key = { id: 'test', key: createSecretKey(Buffer.from(keyText, 'base64url')) };
const store = await openTestStore(nats, namespace, boxOf(key));

const say = (...words: readonly (string | number)[]): void => {
  writeSync(1, `${words.join(' ')}\n`);
};

async function work(name: string): Promise<never> {
  for (let turn = 0; ; turn += 1) {
    const mark = crypto.randomUUID();
    try {
      const current = await store.get(name);
      if (current === undefined) {
        const { uid, version } = await store.create(inputOf(name, mark));
        say('put', uid, version, mark);
      } else if (turn % 5 === 4) {
        await store.remove(name);
        say('removed', current.uid);
      } else {
        const { uid, version } = await store.update(current, inputOf(name, mark));
        await store.raiseFloor(uid, { bucket: name, prefix: 'in/', at: 1000 + version });
        say('put', uid, version, mark);
      }
    } catch (error) {
      if (!isAppError(error, 'conflict') && !isAppError(error, 'not_found')) throw error;
    }
  }
}

// Two workers a name, so that they outrun each other.
await Promise.all(['a', 'b', 'c', 'a', 'b', 'c'].map(work));
