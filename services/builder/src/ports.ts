import type { BuildCaller, BuildProgress, BuildState, BuildTicket } from '@sluice/shared/contracts';

/** What a build is made from; the same for all tickets that share it. */
export interface BuildSpec {
  readonly user: string;
  readonly kind: string;
  /** The base image as asked for, without its tag: `docker.io/library/python`, and the digest it is pinned to. */
  readonly source: string;
  readonly baseDigest: string;
  /** The base image's `USER`, to be restored; empty where it has none. */
  readonly baseUser: string;
  /** The requirements file. */
  readonly file: string | undefined;
  /** An image that brings a tool which base images of this kind lack (Maven's, for java); empty: none. */
  readonly toolImage: string;
  /** Empty: the builder's own. */
  readonly platforms: readonly string[];
  readonly sbom: boolean;
  readonly provenance: boolean;
  /** Where the image is pushed: registry and the user's repository, `registry:5000/anna`. */
  readonly repository: string;
  /** The tag that is named by the content (`contentTag`). */
  readonly contentTag: string;
  /** No layer of an earlier build is used. */
  readonly force: boolean;
  /** W3C context of the request that made the build; no part of its key. Absent in those that an earlier version stored. */
  readonly traceparent?: string | undefined;
}

/** A build as it is stored. Times are epoch milliseconds. */
export interface StoredBuild {
  readonly id: string;
  /** Hex SHA-256 of what the image is made of (`buildKey`). */
  readonly key: string;
  readonly spec: BuildSpec;
  readonly state: BuildState;
  /** Place among all users' builds that wait: lower ones first (`QueueOrder`). */
  readonly order: number;
  readonly createdAt: number;
  readonly startedAt: number | undefined;
  readonly endedAt: number | undefined;
  /** Ids of tickets that still want it. */
  readonly tickets: readonly string[];
  readonly progress: BuildProgress | undefined;
  readonly message: string | undefined;
  readonly digest: string | undefined;
  readonly size: number | undefined;
  /** Workers that had it and were gone before they said how their try ended. */
  readonly lost: number;
}

/** How many builds may wait and run. */
export interface BuildLimits {
  /** Builds of one user that wait or run. */
  readonly userOpen: number;
  /** Of all users. */
  readonly totalOpen: number;
  /** Builds of one user that run at once. */
  readonly userRunning: number;
}

export type Joined =
  /** A new build; it has to be given to the queue. */
  | { readonly kind: 'created'; readonly build: StoredBuild; readonly ticket: BuildTicket }
  /** A build of the same content that waits or runs already. */
  | { readonly kind: 'joined'; readonly build: StoredBuild; readonly ticket: BuildTicket }
  /** A ticket of this id is there already and was left as it is: the request came twice. */
  | { readonly kind: 'known'; readonly ticket: BuildTicket }
  | { readonly kind: 'full'; readonly of: 'user' | 'total'; readonly open: number };

export type BuildOutcome =
  | {
      readonly state: 'succeeded';
      readonly digest: string;
      readonly size: number;
      readonly message?: string | undefined;
    }
  | {
      readonly state: 'failed' | 'expired' | 'cancelled';
      readonly code: string;
      readonly message: string;
    };

/**
 * Keeps tickets and builds; every step that decides is one atomic step. A ticket leaves `queued` and `running` once and for ever. All steps may be repeated.
 * Rejects with AppError `unavailable` while the server is away.
 */
export interface BuildStore {
  /**
   * Stores a ticket and joins it to the open build of its key, or to a new one where there is none (or `spec.force`).
   * The new build's `order` makes users take turns: it is one more than the user's last one that waits, and at least the highest that began;
   * it starts anew at 1 when nothing is open.
   */
  join(
    ticket: BuildTicket,
    build: Pick<StoredBuild, 'id' | 'key' | 'spec'>,
    limits: BuildLimits,
  ): Promise<Joined>;
  /** Stores a ticket that has ended at once (the image was there). One of its id that is there already is left, and given back. */
  put(ticket: BuildTicket): Promise<BuildTicket>;
  /** Replaces an ended ticket of the same id by the next `join` (`/build/ensure` with `retry`). */
  forget(user: string, id: string): Promise<void>;
  ticket(user: string, id: string): Promise<BuildTicket | undefined>;
  /** Newest first. @param page `after`: the `next` of the page before */
  tickets(
    user: string,
    page: {
      readonly limit: number;
      readonly after?: string | undefined;
      readonly state?: BuildState | undefined;
    },
  ): Promise<{ readonly tickets: readonly BuildTicket[]; readonly next?: string }>;
  /** Its file is there until it has ended. */
  build(id: string): Promise<StoredBuild | undefined>;
  /**
   * A worker takes a build: it and its tickets are `running`. One that is so already has lost its worker, which is counted.
   * @returns `unwanted` where it has ended or nobody wants it any more (it is then ended), `later` where its user has `userRunning` others under way
   */
  begin(id: string, limits: BuildLimits): Promise<StoredBuild | 'unwanted' | 'later'>;
  /** Notes progress of a running build. @returns whether anybody still wants it */
  progress(id: string, progress: BuildProgress, message?: string): Promise<boolean>;
  /** Back to `queued`, to be tried again: its tickets say why. */
  again(id: string, message: string): Promise<void>;
  /**
   * Ends a build and all its tickets. A success ends only the tickets that `tagged` names; where others joined meanwhile, nothing is ended and these are given back, to be tagged first.
   */
  end(
    id: string,
    outcome: BuildOutcome,
    tagged?: readonly string[],
  ): Promise<{ readonly ended: readonly BuildTicket[]; readonly untagged: readonly BuildTicket[] }>;
  /**
   * Drops a ticket: it is `cancelled`, and its build goes on for the others.
   * @returns the ticket as it is now, and whether its build is not wanted any more; undefined where there is none
   */
  cancel(
    user: string,
    id: string,
    message: string,
  ): Promise<{ readonly ticket: BuildTicket; readonly abandoned: string | undefined } | undefined>;
  /** Builds that wait or run, without their files, oldest first. */
  open(): Promise<readonly StoredBuild[]>;
  /** Numbers of one user, or of all. */
  counts(user?: string): Promise<{ readonly queued: number; readonly running: number }>;
  /** Removes tickets that ended before a moment, and builds that none names any more. @returns the number of tickets */
  removeEnded(
    before: number,
    user?: string,
  ): Promise<{
    readonly removed: number;
    readonly builds: readonly { readonly user: string; readonly id: string }[];
  }>;
  /** Rejects with what is wrong, for a person. */
  check(): Promise<void>;
}

/** The queue of builds (BullMQ). */
export interface BuildQueue {
  /** Gives a build to the workers; one that is there already is left as it is. */
  add(build: Pick<StoredBuild, 'id' | 'order'>): Promise<void>;
  /** Takes one that waits out again; one that is under way stays. */
  remove(id: string): Promise<void>;
  /** Builds that wait now, and that run. */
  depth(): Promise<{ readonly waiting: number; readonly active: number }>;
  /** No build begins on any worker until `resume`. Those under way go on. */
  pause(): Promise<void>;
  resume(): Promise<void>;
  check(): Promise<void>;
  close(): Promise<void>;
}

/** What a worker is to do with a build after a try. */
export type Verdict =
  | { readonly kind: 'done' }
  /** Its user has as many under way as may be: it comes again in its place. */
  | { readonly kind: 'later' }
  /** A cause that passes: it is tried again after a while. */
  | { readonly kind: 'again'; readonly error: Error };

/** Takes builds out of the queue. One whose worker died is given to another. */
export interface BuildWorkers {
  /** @param work gets the number of the try, from 1, and whether it is the last; rejects only for bugs */
  start(
    work: (
      id: string,
      attempt: { readonly number: number; readonly last: boolean },
      signal: AbortSignal,
    ) => Promise<Verdict>,
  ): Promise<void>;
  /** Takes no more and waits for those in hand; they are aborted after `graceMs` and given to others. */
  stop(graceMs: number): Promise<void>;
}

/** Runs something at times, once over all processes (repeatable jobs of the same queue). */
export interface Schedules {
  set(name: string, everyMs: number | undefined): Promise<void>;
  /** Once, as soon as a worker is free. */
  once(name: string): Promise<void>;
}

/** All that BuildKit gets to know. Every value is validated. */
export interface BuildPlan {
  readonly id: string;
  readonly user: string;
  readonly kind: string;
  readonly dockerfile: string;
  /** Files beside it in the context. */
  readonly files: readonly { readonly name: string; readonly text: string }[];
  /** `registry:5000/anna:python-0123…` */
  readonly push: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly platforms: readonly string[];
  readonly sbom: boolean;
  readonly provenance: boolean;
  /** Of this user and kind, read and written; undefined: none. */
  readonly cache: string | undefined;
  /** Read only. */
  readonly sharedCaches: readonly string[];
  /** Layers of earlier builds are not used. */
  readonly force: boolean;
  /** Names and passwords by registry host, only those that the build needs. */
  readonly logins: Readonly<Record<string, { readonly username: string; readonly password: string }>>;
  readonly timeoutMs: number;
}

export interface Built {
  readonly digest: string;
  /** Steps, and those that came from a cache. */
  readonly steps: number;
  readonly cached: number;
}

/** Makes images. */
export interface ImageBuilder {
  /**
   * Builds and pushes. Lines of the log are given on as they come; a consumer that is slow makes the build wait.
   * @throws AppError with `retry: 'later'` for causes that pass (`unavailable`: registry or daemon away), `unprocessable` with a `reason` for what is wrong with the request (a step failed, base image missing),
   * `timed_out`, `cancelled` (the signal)
   */
  build(
    plan: BuildPlan,
    context: {
      readonly signal: AbortSignal;
      readonly onProgress: (progress: BuildProgress) => void;
      readonly onLog: (line: string) => Promise<void>;
    },
  ): Promise<Built>;
  /** Whether the daemon answers. @throws AppError `unavailable` with a sentence that says what to mend */
  check(): Promise<void>;
  /** What it says of its version; undefined where it does not. @throws AppError as `check` */
  version(): Promise<string | undefined>;
}

/** A manifest in a registry, with what its configuration tells. */
export interface ImageDetails {
  readonly digest: string;
  /** Compressed layers and configuration, of an index all of its images. */
  readonly size: number;
  /** Digest and size of each blob and manifest that it needs, to count shared ones once. */
  readonly parts: readonly { readonly digest: string; readonly size: number }[];
  /** Epoch milliseconds. */
  readonly createdAt: number | undefined;
  readonly labels: Readonly<Record<string, string>>;
}

/** The registry that built images lie in. Repositories and references are whole: `registry:5000/anna`. */
export interface ImageRegistry {
  /** Digest, USER and platforms of a base image. See `RegistryClient.imageFacts`. */
  baseFacts(
    reference: string,
  ): Promise<{ readonly digest: string; readonly user: string; readonly platforms: readonly string[] }>;
  /** Digest of what a reference names now; undefined where there is nothing. */
  digestOf(reference: string): Promise<string | undefined>;
  /** Undefined where there is nothing. */
  details(reference: string): Promise<ImageDetails | undefined>;
  /** Gives a manifest of a repository another tag. */
  tag(repository: string, digest: string, tag: string): Promise<void>;
  tags(repository: string): Promise<readonly string[]>;
  /** Removes one tag and no other, its manifest with the last one. */
  removeTag(repository: string, tag: string): Promise<void>;
}

/** Where a user's images go: the installation's registry, or the one that the user's account names. */
export interface UserRegistry {
  /** `registry:5000/anna`, as images are pushed. */
  readonly repository: string;
  /** The same as clusters pull. */
  readonly pullRepository: string;
  readonly images: ImageRegistry;
}

export interface Registries {
  /** @throws AppError `invalid_input` for an account whose `REGISTRY_*` cannot be used */
  of(caller: Pick<BuildCaller, 'login' | 'env'>): UserRegistry;
  /** Logins of that user for a build: by registry host, only of these hosts. */
  logins(caller: Pick<BuildCaller, 'login' | 'env'>, hosts: readonly string[]): Promise<BuildPlan['logins']>;
}

/** What an account's environment holds, for workers: nothing of it is stored with a build. */
export type EnvironmentOf = (login: string) => Promise<Readonly<Record<string, string>>>;
