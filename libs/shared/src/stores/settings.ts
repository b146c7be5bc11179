/** What the administrator sets at run time and every process goes by. */
export const settingNames = ['allowed_image_repositories'] as const;
export type SettingName = (typeof settingNames)[number];

/** Longer values belong elsewhere. */
export const maxSettingBytes = 262_144;

/** A few small values of the installation, beside the services. Promises may reject with `AppError` `unavailable`. */
export interface Settings {
  /** The text that was stored last; undefined where nothing ever was. Reads what other processes wrote. */
  get(name: SettingName): Promise<string | undefined>;
  /** Resolves when the value is durable; the last writer wins. @throws AppError `too_large`, `storage_full` */
  set(name: SettingName, value: string): Promise<void>;
}
