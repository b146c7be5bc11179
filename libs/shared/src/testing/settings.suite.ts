import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { maxSettingBytes, type Settings } from '../stores/index.ts';

/** Settings of their own for each test. */
export interface SettingsHarness {
  readonly settings: Settings;
  /** Ends the adapter and opens it again, with what it had stored. */
  restart(): Promise<Settings>;
  close(): Promise<void>;
}

const name = 'allowed_image_repositories';

/** What every adapter of `Settings` must do. */
export function describeSettings(adapter: string, make: () => Promise<SettingsHarness>): void {
  describe(`settings: ${adapter}`, () => {
    let harness: SettingsHarness;
    beforeEach(async () => {
      harness = await make();
    });
    afterEach(async () => {
      await harness.close();
    });

    it('has nothing at first', async () => {
      expect(await harness.settings.get(name)).toBeUndefined();
    });

    it('gives back the last value, byte for byte, after a restart too', async () => {
      await harness.settings.set(name, '["a"]');
      const value = JSON.stringify(['ghcr.io/grycap', 'ünï "quoted"\n']);
      await harness.settings.set(name, value);
      expect(await harness.settings.get(name)).toBe(value);
      expect(await (await harness.restart()).get(name)).toBe(value);
    });

    it('keeps one whole value where several are written at once', async () => {
      const values = Array.from({ length: 20 }, (_, index) => `${index}`.repeat(1000));
      await Promise.all(values.map((value) => harness.settings.set(name, value)));
      expect(values).toContain(await harness.settings.get(name));
    });

    it('keeps an empty text apart from nothing', async () => {
      await harness.settings.set(name, '');
      expect(await harness.settings.get(name)).toBe('');
    });

    it('refuses what is too long and keeps what was there', async () => {
      await harness.settings.set(name, 'x'.repeat(maxSettingBytes));
      await expect(harness.settings.set(name, 'ü'.repeat(maxSettingBytes / 2 + 1))).rejects.toMatchObject({
        code: 'too_large',
        field: name,
      });
      expect(await harness.settings.get(name)).toHaveLength(maxSettingBytes);
    });
  });
}
