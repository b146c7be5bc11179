import type { Page } from '../bus/index.ts';
import type { ServiceDefinition, ServiceSecrets } from '../contracts/index.ts';

/** A definition as stored, without secrets. */
export interface StoredDefinition {
  readonly name: string;
  /** Made anew when a service is deleted and created again. */
  readonly uid: string;
  /** From 1, one more with each update. */
  readonly version: number;
  readonly created_at: number;
  readonly updated_at: number;
  readonly definition: ServiceDefinition;
}

export interface NewDefinition {
  /** `token` and the values of `environment.secrets` must be empty here. */
  readonly definition: ServiceDefinition;
  readonly secrets: ServiceSecrets;
  /**
   * Where each input prefix starts to count (`Floor`); stored in the same step, so that no object can be missed or
   * run by mistake between the two.
   */
  readonly floors: readonly Floor[];
}

/** Objects of a prefix changed at or before the floor are never run by the reconciler. */
export interface Floor {
  readonly bucket: string;
  /** Key prefix, with its trailing slash; empty for a whole bucket. */
  readonly prefix: string;
  /** Epoch milliseconds in the store's clock. */
  readonly at: number;
}

export type DefinitionChange =
  | { readonly kind: 'put'; readonly stored: StoredDefinition }
  | { readonly kind: 'removed'; readonly name: string; readonly uid: string };

export interface Watch {
  stop(): Promise<void>;
}

/** The services that users described, with versions. Promises may reject with `AppError` `unavailable`. */
export interface DefinitionStore {
  /** @throws AppError `conflict` when the name is taken */
  create(input: NewDefinition): Promise<StoredDefinition>;
  /**
   * Stores the next version. Floors of prefixes that were there stay as they are; `floors` sets those of new ones. Floors
   * of prefixes that are neither in `floors` nor an input path of the definition any more go, as all do with the service:
   * nobody would raise them, and claims would be kept for ever.
   * @throws AppError `not_found`; `conflict` when the version is not the expected one
   */
  update(expected: { uid: string; version: number }, input: NewDefinition): Promise<StoredDefinition>;
  /** Removes a service; its versions stay readable by uid until they are pruned. Absent: undefined. */
  remove(name: string): Promise<StoredDefinition | undefined>;
  get(name: string): Promise<StoredDefinition | undefined>;
  /** A version that may be older than the newest, or of a removed service. */
  getVersion(uid: string, version: number): Promise<StoredDefinition | undefined>;
  secrets(uid: string, version: number): Promise<ServiceSecrets | undefined>;
  /** By name; at most `limit` a page. */
  list(query: { limit: number; cursor?: string }): Promise<Page<StoredDefinition>>;
  /**
   * Calls `listener` for every definition there is, then for each change. Resolves after the first part.
   * Listeners must not throw.
   */
  watch(listener: (change: DefinitionChange) => void): Promise<Watch>;
  floors(uid: string): Promise<readonly Floor[]>;
  /** Raises a floor; a lower one than the stored is left alone. */
  raiseFloor(uid: string, floor: Floor): Promise<void>;
  /** Earliest floor of all; undefined without any. */
  lowestFloor(): Promise<number | undefined>;
  /** Drops versions superseded or removed before `before` (epoch ms) that are not in `inUse` (`<uid>/<version>`). */
  pruneVersions(query: { before: number; inUse: ReadonlySet<string> }): Promise<number>;
}
