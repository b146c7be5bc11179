import { createSecretKey, randomBytes } from 'node:crypto';
import { inspect } from 'node:util';
import { describe, expect, it } from 'vitest';
import fc from 'fast-check';
import { loadConfig } from '../config/index.ts';
import {
  createSecretBox,
  masterKeyOf,
  parseSecretKeys,
  sealedWith,
  secretKeys,
  type MasterKey,
} from './secret-box.ts';

const keyOf = (id: string): MasterKey => ({ id, key: createSecretKey(randomBytes(32)) });
const old = keyOf('2025');
const fresh = keyOf('2026');
const boxOf = (...keys: [MasterKey, ...MasterKey[]]): ReturnType<typeof createSecretBox> =>
  createSecretBox({ keys, random: randomBytes });

describe('secret box', () => {
  it('gives back any text for the same context, and nothing readable before', () => {
    const box = boxOf(fresh);
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), fc.string(), (text, about) => {
        // A lone surrogate has no UTF-8 form; JSON, which is what is sealed, escapes it.
        const json = JSON.stringify({ text });
        const sealed = box.seal(json, about);
        expect(sealed).toMatch(/^[\w.-]+$/);
        expect(box.open(sealed, about)).toBe(json);
      }),
    );
  });

  it('never seals the same text the same way', () => {
    const box = boxOf(fresh);
    expect(new Set(Array.from({ length: 100 }, () => box.seal('hunter2', 'a/1'))).size).toBe(100);
  });

  it('opens for its own context only', () => {
    const box = boxOf(fresh);
    fc.assert(
      fc.property(fc.string(), fc.string(), (mine, other) => {
        fc.pre(mine !== other);
        expect(() => box.open(box.seal('hunter2', mine), other)).toThrow(/belongs elsewhere/);
      }),
    );
  });

  it('refuses a record in which any one character was changed', () => {
    const box = boxOf(fresh);
    const sealed = box.seal('hunter2', 'a/1');
    for (let at = 0; at < sealed.length; at += 1) {
      const changed = `${sealed.slice(0, at)}${sealed[at] === 'A' ? 'B' : 'A'}${sealed.slice(at + 1)}`;
      expect(() => box.open(changed, 'a/1')).toThrow(/cannot be opened|were changed|not among those/);
    }
    for (const cut of [1, 10, 60])
      expect(() => box.open(sealed.slice(0, -cut), 'a/1')).toThrow(/cannot be opened|were changed/);
  });

  it('refuses the data of one record under the key of another', () => {
    const box = boxOf(fresh);
    const [a, b] = [box.seal('one', 'a/1').split('.'), box.seal('two', 'a/1').split('.')];
    const mixed = [...a.slice(0, 3), b[3]].join('.');
    expect(() => box.open(mixed, 'a/1')).toThrow(expect.objectContaining({ code: 'unprocessable' }));
  });

  it('reads with every key and writes with the first', () => {
    const sealed = boxOf(old).seal('hunter2', 'a/1');
    const both = boxOf(fresh, old);
    expect(both.open(sealed, 'a/1')).toBe('hunter2');
    expect(sealedWith(sealed)).toBe('2025');
    expect(sealedWith(both.seal('hunter2', 'a/1'))).toBe('2026');
    expect(sealedWith('{"token":"x"}')).toBeUndefined();
  });

  it('names the key that is missing or wrong, and never a key', () => {
    const sealed = boxOf(old).seal('hunter2', 'a/1');
    expect(() => boxOf(fresh).open(sealed, 'a/1')).toThrow(
      expect.objectContaining({ code: 'unavailable', message: expect.stringMatching(/"2025".*\(2026\)/) }),
    );
    const impostor = keyOf('2025');
    const failure = (): unknown => {
      try {
        return boxOf(impostor).open(sealed, 'a/1');
      } catch (error) {
        return error;
      }
    };
    expect(failure()).toMatchObject({ code: 'unavailable', details: { keyId: '2025' } });
    const shown = `${inspect(failure())}${inspect(impostor)}${JSON.stringify(impostor)}`;
    for (const form of ['base64', 'base64url', 'hex'] as const)
      expect(shown).not.toContain(impostor.key.export().toString(form));
  });

  it('gives a key a name of its own', () => {
    const bytes = randomBytes(32);
    expect(masterKeyOf(bytes).id).toBe(masterKeyOf(Buffer.from(bytes)).id);
    expect(masterKeyOf(bytes).id).not.toBe(masterKeyOf(randomBytes(32)).id);
    expect(() => masterKeyOf(randomBytes(31))).toThrow('32 bytes');
  });
});

describe('keys from a variable', () => {
  const base64 = randomBytes(32).toString('base64');

  it('reads one key or several, padded or not, in either alphabet', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: 32, maxLength: 32 }),
        fc.constantFrom('base64', 'base64url'),
        (bytes, form) => {
          const [key] = parseSecretKeys(`k:${Buffer.from(bytes).toString(form)}`);
          expect(new Uint8Array(key.key.export())).toEqual(bytes);
        },
      ),
    );
    const keys = parseSecretKeys(` new:${base64} , old:${randomBytes(32).toString('base64url')}`);
    expect(keys.map(({ id }) => id)).toEqual(['new', 'old']);
  });

  it.each([
    ['nothing', '', /key 1 does not begin with an id/],
    ['no id', base64, /key 1 does not begin with an id/],
    ['an empty id', `:${base64}`, /key 1 does not begin with an id/],
    ['a dot in the id', `a.b:${base64}`, /key 1 does not begin with an id/],
    ['a trailing comma', `a:${base64},`, /key 2 does not begin with an id/],
    ['a short key', `a:${randomBytes(16).toString('base64')}`, /"a" has 16 bytes instead of 32/],
    ['a long key', `a:${randomBytes(33).toString('base64')}`, /"a" has 33 bytes instead of 32/],
    ['no base64', `a:${'ä'.repeat(43)}`, /"a" is not base64/],
    ['one id twice', `a:${base64},a:${base64}`, /two keys with the id "a"/],
    ['too many', Array.from({ length: 17 }, (_, n) => `k${n}:${base64}`).join(','), /1 to 16 keys/],
  ])('refuses %s and shows no key', (_what, text, message) => {
    expect(() => parseSecretKeys(text)).toThrow(message);
    expect(() => parseSecretKeys(text)).not.toThrow(base64);
  });

  it('is a variable like others', () => {
    const variables = { KEYS: secretKeys({ why: 'for the test' }) };
    expect(() => loadConfig(variables, {}, () => '')).toThrow(/KEYS: is missing; give id:key/);
    expect(() => loadConfig(variables, { KEYS: 'a:b' }, () => '')).toThrow(/KEYS: the key "a"/);
    const optional = { KEYS: secretKeys({ why: 'for the test', fallback: undefined }) };
    expect(loadConfig(optional, {}, () => '').KEYS).toBeUndefined();
  });
});
