import type {
  BuildCaller,
  BuildRequest,
  BuildState,
  BuildTicket,
  BuildUsage,
  BuiltImage,
  PruneReport,
} from '../contracts/index.ts';
import type { RunLogChunk } from './run-logs.ts';

/**
 * Where images are asked for. All is the caller's own: what belongs to others is not found.
 * Rejects with AppError `invalid_input`, `unprocessable`, `limit_reached` (the queue is full; with seconds to wait), `unavailable` and says what to do.
 */
export interface BuildDesk {
  /** @throws AppError `not_found`, `forbidden` for a base image that is not there or not allowed */
  start(caller: BuildCaller, request: BuildRequest): Promise<BuildTicket>;
  /** By content (`/build/ensure`): the ticket of this builder and file, made where there is none. @param retry whether a failed one is tried again */
  ensure(
    caller: BuildCaller,
    request: { readonly builder: string; readonly file: string; readonly retry: boolean },
  ): Promise<BuildTicket>;
  /** Base images that `ensure` knows. */
  builders(): readonly { readonly id: string; readonly kind: string }[];
  get(caller: BuildCaller, id: string): Promise<BuildTicket | undefined>;
  /** Newest first. */
  list(
    caller: BuildCaller,
    page: {
      readonly limit: number;
      readonly after?: string | undefined;
      readonly state?: BuildState | undefined;
    },
  ): Promise<{ readonly tickets: readonly BuildTicket[]; readonly next?: string }>;
  /** Drops a ticket; its build goes on for others who want it. An ended one stays as it is. */
  cancel(caller: BuildCaller, id: string): Promise<BuildTicket | undefined>;
  /** Bytes of the build's log from `offset` on, as `RunLogs.read`. */
  log(
    ticket: BuildTicket,
    query: { readonly offset: number; readonly limit: number },
  ): Promise<RunLogChunk | undefined>;
  /** Removes the caller's ended tickets that are older. @returns how many */
  cleanup(caller: BuildCaller, maxAgeMs: number): Promise<number>;
  images(caller: BuildCaller): Promise<readonly BuiltImage[]>;
  image(caller: BuildCaller, tag: string): Promise<BuiltImage | undefined>;
  /** @throws AppError `conflict` while a service uses it, unless `force`; `not_found` */
  deleteImage(caller: BuildCaller, tag: string, force: boolean): Promise<void>;
  usage(caller: BuildCaller): Promise<BuildUsage>;
  /** Retention now, of all users; then garbage collection, which a worker does. For administrators. */
  prune(options: { readonly dryRun: boolean }): Promise<PruneReport>;
}
