import { AppError } from '../errors/index.ts';
import { maxSettingBytes, type Settings } from '../stores/index.ts';
import type { Database } from './sqlite-database.ts';

/** Settings in the installation's database. */
export function createSqliteSettings(db: Database): Settings {
  const select = db.prepare<{ value: string }>('SELECT value FROM settings WHERE name = ?');
  const upsert = db.prepare(
    'INSERT INTO settings (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value',
  );
  return {
    get: async (name) => db.read(() => select.get(name)?.value),
    set: async (name, value) => {
      if (Buffer.byteLength(value) > maxSettingBytes)
        throw new AppError('too_large', `A setting has at most ${maxSettingBytes} bytes.`, { field: name });
      await db.write(() => upsert.run(name, value));
    },
  };
}
