import { Type, type Static } from 'typebox';

/** Languages whose requirements files are understood (`builder`'s recipes). */
export const buildKinds = ['python', 'nodejs', 'go', 'java', 'php', 'ruby', 'dotnet'] as const;
export type BuildKind = (typeof buildKinds)[number];

export function isBuildKind(text: string): text is BuildKind {
  return (buildKinds as readonly string[]).includes(text);
}

export const BuildState = Type.Union(
  [
    Type.Literal('queued'),
    Type.Literal('running'),
    Type.Literal('succeeded'),
    Type.Literal('failed'),
    Type.Literal('cancelled'),
    /** It waited longer than a build may wait. */
    Type.Literal('expired'),
  ],
  { title: 'BuildState' },
);
export type BuildState = Static<typeof BuildState>;

export function isFinalBuild(state: BuildState): boolean {
  return state !== 'queued' && state !== 'running';
}

export const BuildProgress = Type.Object({
  /** Steps that are done, and those that are known so far. */
  done: Type.Integer(),
  total: Type.Integer(),
  /** The step under way: `[2/3] RUN …`. */
  step: Type.Optional(Type.String()),
});
export type BuildProgress = Static<typeof BuildProgress>;

/** One request for an image. Requests for the same content share a build. Times are epoch milliseconds. */
export const BuildTicket = Type.Object({
  /** A UUID; of a request by content (`/build/ensure`) the hex of its hash. */
  id: Type.String(),
  /** Whose it is; tickets of others are not found. */
  user: Type.String(),
  /** The build that it is joined to. */
  build: Type.String(),
  kind: Type.String(),
  /** The base image as it was asked for, and its digest at that moment. */
  source: Type.String(),
  base_digest: Type.Optional(Type.String()),
  /** `<user>:<tag>` */
  target: Type.String(),
  /** The image as clusters pull it: `<pull host>/<user>:<tag>`. */
  image: Type.String(),
  /** The same as it is pushed. */
  pushed: Type.String(),
  /** SHA-256 of the requirements file, in hex; absent without one. */
  requirements: Type.Optional(Type.String()),
  state: BuildState,
  /** For a person: why it waits, failed or ended. */
  message: Type.Optional(Type.String()),
  /** A word for programs where it failed: `requirements_failed`, `base_missing`, `registry_unavailable`, `timed_out`, … */
  code: Type.Optional(Type.String()),
  progress: Type.Optional(BuildProgress),
  digest: Type.Optional(Type.String()),
  /** Bytes of the image's compressed layers and configuration. */
  size: Type.Optional(Type.Integer()),
  /** Answered without a build: the image was there. */
  reused: Type.Boolean(),
  created_at: Type.Number(),
  started_at: Type.Optional(Type.Number()),
  ended_at: Type.Optional(Type.Number()),
});
export type BuildTicket = Static<typeof BuildTicket>;

/** Who asks for builds. */
export interface BuildCaller {
  /** `[a-z0-9]+`: also the repository of the caller's images. */
  readonly login: string;
  readonly admin: boolean;
  /** The account's environment; `REGISTRY_HOST`, `REGISTRY_SECRET` (`name:password`) send its images elsewhere. */
  readonly env: Readonly<Record<string, string>>;
  /** W3C context of the request. */
  readonly traceparent?: string | undefined;
}

/** What an image is to be made of. */
export interface BuildRequest {
  readonly source: string;
  readonly target: string;
  readonly kind: string;
  /** The requirements file, decoded; without one the image is `source` under another name. */
  readonly file?: string | undefined;
  /** Builds again, whatever is there. */
  readonly force?: boolean | undefined;
  /** `linux/amd64`; the builder's own where empty. */
  readonly platforms?: readonly string[] | undefined;
  readonly sbom?: boolean | undefined;
  readonly provenance?: boolean | undefined;
}

/** A built image in the registry. */
export interface BuiltImage {
  readonly tag: string;
  /** As clusters pull it, by tag. */
  readonly image: string;
  readonly digest: string;
  readonly size: number;
  /** Epoch milliseconds. */
  readonly created_at: number | undefined;
  readonly kind: string | undefined;
  readonly source: string | undefined;
  readonly base_digest: string | undefined;
  readonly requirements: string | undefined;
  /** Services whose definition names it. */
  readonly used_by: readonly string[];
}

export interface BuildUsage {
  readonly queued: number;
  readonly running: number;
  readonly max_queued: number;
  readonly max_running: number;
  readonly images: number;
  /** Bytes of the images, layers that they share counted once. */
  readonly bytes: number;
}

/** What retention and garbage collection did, or would do. */
export interface PruneReport {
  readonly dry_run: boolean;
  /** Tags that went (`user:tag`), and why. */
  readonly removed: readonly { readonly image: string; readonly why: string }[];
  /** Tags that stay though the policy would take them, and why: `used by service x`. */
  readonly kept: readonly { readonly image: string; readonly why: string }[];
  /** What could not be looked at or removed, and why; it is tried again at the next round. */
  readonly failed?: readonly { readonly image: string; readonly why: string }[];
  /** Entries that were left out of these lists because they are too many. */
  readonly more?: number;
  /** Whether the registry was collected; absent where it is not ours to collect. */
  readonly collection?: {
    readonly state: 'done' | 'scheduled' | 'unsupported';
    readonly freed_bytes?: number | undefined;
  };
}

/** A build's change, for whoever watches. */
export const BuildChanged = Type.Object({
  build: Type.String(),
  user: Type.String(),
  tickets: Type.Array(Type.String()),
  state: BuildState,
  /** Epoch milliseconds. */
  at: Type.Number(),
  progress: Type.Optional(BuildProgress),
  message: Type.Optional(Type.String()),
});
export type BuildChanged = Static<typeof BuildChanged>;
