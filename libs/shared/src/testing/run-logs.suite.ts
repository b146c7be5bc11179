import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { isAppError } from '../errors/index.ts';
import type { RunLogRef, RunLogs } from '../stores/index.ts';

export interface RunLogsUnderTest {
  readonly logs: RunLogs;
  /** Stored bytes that one attempt's beginning may have; small, say 4 KiB. */
  readonly maxBytes: number;
  close(): Promise<void>;
}

const stamp = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z /;

/** What every `RunLogs` keeps. `make` may give the same store each time. */
export function describeRunLogs(name: string, make: () => Promise<RunLogsUnderTest>): void {
  describe(`RunLogs: ${name}`, () => {
    let tested: RunLogsUnderTest;
    let logs: RunLogs;
    let ref: RunLogRef;

    beforeAll(async () => {
      tested = await make();
      logs = tested.logs;
    });
    afterAll(async () => {
      await tested.close();
    });
    beforeEach(() => {
      ref = { service: 'suite', runId: `run-${randomBytes(8).toString('hex')}` };
    });

    async function write(
      ...chunks: readonly (string | Uint8Array)[]
    ): Promise<{ bytes: number; dropped: number }> {
      const writer = await logs.open(ref);
      for (const chunk of chunks) await writer.write(Buffer.from(chunk));
      return writer.close();
    }

    async function stored(): Promise<Buffer> {
      const parts: Uint8Array[] = [];
      for (let offset = 0; ;) {
        const chunk = await logs.read(ref, { offset, limit: 1_000_000 });
        if (chunk === undefined) throw new Error('there is no log');
        parts.push(chunk.data);
        offset = chunk.nextOffset;
        if (chunk.complete) return Buffer.concat(parts);
        expect(chunk.data.length).toBeGreaterThan(0);
      }
    }

    /** The lines without their times, which must be there. */
    async function lines(): Promise<string[]> {
      const text = (await stored()).toString();
      expect(text.endsWith('\n')).toBe(true);
      return text
        .slice(0, -1)
        .split('\n')
        .map((line) => {
          expect(line).toMatch(stamp);
          return line.replace(stamp, '');
        });
    }

    it('keep what was printed, a time before each line', async () => {
      const before = Date.now();
      expect(await write('one\ntw', 'o\n', '\n', 'three')).toEqual({ bytes: 14, dropped: 0 });
      expect(await lines()).toEqual(['one', 'two', '', 'three']);
      const at = Date.parse((await stored()).toString().slice(0, 24));
      expect(at).toBeGreaterThanOrEqual(before - 1000);
      expect(at).toBeLessThanOrEqual(Date.now() + 1000);
    });

    it('are absent for a run that printed nothing', async () => {
      expect(await write()).toEqual({ bytes: 0, dropped: 0 });
      expect(await write('')).toEqual({ bytes: 0, dropped: 0 });
      expect(await logs.read(ref, { offset: 0, limit: 10 })).toBeUndefined();
    });

    it('keep bytes that are no text', async () => {
      const odd = Buffer.from([0xff, 0x00, 0xc3, 0x28, 0x0d, 0x0a, 0xe2, 0x82]);
      await write(odd.subarray(0, 3), odd.subarray(3));
      const data = await stored();
      expect(data.subarray(25, 31)).toEqual(odd.subarray(0, 6));
      expect(data.subarray(31 + 25)).toEqual(Buffer.from([0xe2, 0x82, 0x0a]));
    });

    it('put the attempts of a run one behind the other', async () => {
      await write('first, without an end');
      await write('second\n');
      expect(await lines()).toEqual(['first, without an end', 'second']);
    });

    it('can be followed while they are written', async () => {
      const writer = await logs.open(ref);
      expect(await logs.read(ref, { offset: 0, limit: 1000 })).toBeUndefined();
      await writer.write(Buffer.from('one\ntwo'));
      const first = await logs.read(ref, { offset: 0, limit: 1000 });
      expect(Buffer.from(first?.data ?? []).toString()).toMatch(/Z one\n$/);
      expect(first?.complete).toBe(false);
      const nothing = await logs.read(ref, { offset: first?.nextOffset ?? 0, limit: 1000 });
      expect(nothing).toEqual({ data: Buffer.alloc(0), nextOffset: first?.nextOffset, complete: false });
      await writer.write(Buffer.from('!\n'));
      const second = await logs.read(ref, { offset: first?.nextOffset ?? 0, limit: 1000 });
      expect(Buffer.from(second?.data ?? []).toString()).toMatch(/Z two!\n$/);
      await writer.close();
      const end = await logs.read(ref, { offset: second?.nextOffset ?? 0, limit: 1000 });
      expect(end).toEqual({ data: Buffer.alloc(0), nextOffset: second?.nextOffset, complete: true });
    });

    it('are read in pieces of whole lines, which make the whole', async () => {
      const text = Array.from({ length: 40 }, (_, at) => `line ${at} ${'x'.repeat(at)}`);
      await write(`${text.join('\n')}\n`);
      const whole = await stored();
      for (const limit of [1, 30, 100, 1000]) {
        const parts: Uint8Array[] = [];
        let complete = false;
        for (let offset = 0; !complete;) {
          const chunk = await logs.read(ref, { offset, limit });
          if (chunk === undefined) throw new Error('there is no log');
          expect(chunk.data.length).toBeLessThanOrEqual(limit);
          expect(chunk.nextOffset).toBe(offset + chunk.data.length);
          if (limit >= 100 && !chunk.complete) expect(chunk.data.at(-1)).toBe(0x0a);
          parts.push(chunk.data);
          offset = chunk.nextOffset;
          complete = chunk.complete;
        }
        expect(Buffer.concat(parts).equals(whole)).toBe(true);
      }
      expect(await logs.read(ref, { offset: whole.length + 5, limit: 10 })).toMatchObject({
        data: Buffer.alloc(0),
        complete: true,
      });
    });

    it('keep the beginning and the end of an output that is too long, and say what is missing', async () => {
      const count = 20_000;
      const text = Array.from({ length: count }, (_, at) => `this is line ${at}\n`).join('');
      const chunks: Buffer[] = [];
      for (let at = 0; at < text.length; at += 7000) chunks.push(Buffer.from(text.slice(at, at + 7000)));
      const { bytes, dropped } = await write(...chunks);
      expect(bytes).toBe(text.length);
      const kept = await lines();
      const notice = kept.findIndex((line) => line.startsWith('[sluice] '));
      expect(kept[notice]).toContain(`${dropped} bytes`);
      expect(kept.slice(0, notice)).toEqual(Array.from({ length: notice }, (_, at) => `this is line ${at}`));
      const tail = kept.slice(notice + 1);
      expect(tail.length).toBeGreaterThan(100);
      expect(tail).toEqual(
        Array.from({ length: tail.length }, (_, at) => `this is line ${count - tail.length + at}`),
      );
      const left = [...kept.slice(0, notice), ...tail].reduce((sum, line) => sum + line.length + 1, 0);
      expect(left).toBe(bytes - dropped);
      expect((await stored()).length).toBeLessThan(tested.maxBytes + 66_000);
    });

    it('cut a line that does not end', async () => {
      const { bytes, dropped } = await write(Buffer.alloc(1_000_000, 'x'), '\nlast\n');
      expect(bytes).toBe(1_000_006);
      const kept = await lines();
      expect(kept.at(-1)).toBe('last');
      for (const line of kept) expect(line.length).toBeLessThanOrEqual(65_536);
      expect((await stored()).length).toBeLessThan(tested.maxBytes + 66_000);
      expect(dropped).toBeGreaterThan(0);
    });

    it('are bounded for an output of empty lines, too', async () => {
      const { bytes, dropped } = await write(Buffer.alloc(500_000, '\n'));
      expect(bytes).toBe(500_000);
      expect((await stored()).length).toBeLessThan(tested.maxBytes + 66_000);
      expect(dropped).toBeGreaterThan(400_000);
    });

    it('of many runs at once do not mix', async () => {
      const refs = Array.from({ length: 50 }, (_, at) => ({
        service: `suite-${at % 3}`,
        runId: `${ref.runId}-${at}`,
      }));
      await Promise.all(
        refs.map(async (one, at) => {
          const writer = await logs.open(one);
          for (let line = 0; line < 20; line += 1)
            await writer.write(Buffer.from(`run ${at} line ${line}\n`));
          await writer.close();
        }),
      );
      for (const [at, one] of refs.entries()) {
        const chunk = await logs.read(one, { offset: 0, limit: 100_000 });
        const text = Buffer.from(chunk?.data ?? []).toString();
        expect(text.match(new RegExp(`run ${at} line`, 'g'))).toHaveLength(20);
        expect(text.split('\n')).toHaveLength(21);
      }
      await logs.remove(refs);
      for (const one of refs) expect(await logs.read(one, { offset: 0, limit: 10 })).toBeUndefined();
    });

    it('go when they are removed, also while they are written', async () => {
      const other = { ...ref, runId: `${ref.runId}-other` };
      await write('x\n');
      const writer = await logs.open(other);
      await writer.write(Buffer.from('seen\n'));
      await logs.read(other, { offset: 0, limit: 10 });
      await writer.write(Buffer.from('not yet stored\n'));
      await logs.remove([ref, other, { ...ref, runId: 'never-was' }]);
      await writer.write(Buffer.from('late\n'));
      await writer.close();
      for (const one of [ref, other]) expect(await logs.read(one, { offset: 0, limit: 10 })).toBeUndefined();
    });

    it.each(['', '.', '..', '../x', 'a/b', '.hidden', 'a\0', 'x'.repeat(201)])(
      'refuse the name %j',
      async (odd) => {
        for (const [bad, field] of [
          [{ ...ref, runId: odd }, 'runId'],
          [{ ...ref, service: odd }, 'service'],
        ] as const) {
          for (const attempt of [
            async () => logs.open(bad),
            async () => logs.read(bad, { offset: 0, limit: 1 }),
            async () => logs.remove([bad]),
          ]) {
            const error: unknown = await attempt().then(
              () => undefined,
              (reason: unknown) => reason,
            );
            expect(isAppError(error, 'invalid_input') && error.field).toBe(field);
          }
        }
      },
    );

    it.each([
      [{ offset: -1, limit: 1 }, 'offset'],
      [{ offset: 0.5, limit: 1 }, 'offset'],
      [{ offset: 0, limit: 0 }, 'limit'],
    ])('refuse to read %j', async (query, field) => {
      const error: unknown = await logs.read(ref, query).then(
        () => undefined,
        (reason: unknown) => reason,
      );
      expect(isAppError(error, 'invalid_input') && error.field).toBe(field);
    });
  });
}
