/** What bounds one attempt. */
export interface SupervisorLimits {
  /** Bytes of an event that is kept in the system bucket. @default 64 MiB */
  readonly eventBytes: number;
  /** Bytes of one variable; Linux allows 128 KiB. @default 131072 */
  readonly environmentStringBytes: number;
  /** Bytes of all variables; macOS allows 1 MiB with the arguments. @default 900 KiB */
  readonly environmentBytes: number;
  /** Files and folders that a script may leave as output. @default 100000 */
  readonly outputFiles: number;
  /**
   * Bytes that one run or call may upload together. A file costs its announced size, twice read and once written, however little of it a
   * sparse file takes on the disk: a terabyte that was made in a moment would keep the server for an hour. @default 100 GiB
   */
  readonly outputBytes: number;
  /** Uploads of one run at the same time. @default 4 */
  readonly uploadConcurrency: number;
  /** Tries of one upload while the store is away. @default 5 */
  readonly uploadTries: number;
  /** Tries of one upload that another writer of the same key was quicker than: many runs may have one name for what they make. @default 30 */
  readonly uploadConflicts: number;
  /** Files up to this size are held in memory and read once; larger ones are read twice, in pieces. @default 64 KiB */
  readonly smallFileBytes: number;
  /** Lines about single files (uploaded, skipped) that a log gets of each kind. @default 100 */
  readonly fileLines: number;
}

export const defaultLimits: SupervisorLimits = {
  eventBytes: 64 * 1024 * 1024,
  environmentStringBytes: 128 * 1024,
  environmentBytes: 900 * 1024,
  outputFiles: 100_000,
  outputBytes: 100 * 1024 ** 3,
  uploadConcurrency: 4,
  uploadTries: 5,
  uploadConflicts: 30,
  smallFileBytes: 64 * 1024,
  fileLines: 100,
};
