import { Type, type Static, type TSchema } from 'typebox';
import { Check } from 'typebox/value';
import { AppError } from '../errors/index.ts';

/** As registries and Go name them. */
export interface Platform {
  /** `linux` */
  readonly os: string;
  /** `amd64`, `arm64` */
  readonly architecture: string;
  /** `v7`, `v8` */
  readonly variant?: string;
}

export interface PlatformEntry {
  readonly platform: Platform;
  readonly digest: string;
}

const Digest = Type.String({ pattern: '^[A-Za-z0-9+._-]{1,32}:[0-9a-fA-F]{32,256}$' });
const Named = Type.String({ maxLength: 100 });
const PlatformFields = { os: Named, architecture: Named, variant: Type.Optional(Named) };
const Index = Type.Object({
  manifests: Type.Array(
    Type.Object({ digest: Digest, platform: Type.Optional(Type.Object(PlatformFields)) }),
    { maxItems: 1000 },
  ),
});
const Manifest = Type.Object({ config: Type.Object({ digest: Digest }) });
const Config = Type.Object({
  ...PlatformFields,
  config: Type.Optional(
    Type.Union([Type.Null(), Type.Object({ User: Type.Optional(Type.String({ maxLength: 512 })) })]),
  ),
});

/** A blob or a manifest. */
export interface Part {
  readonly digest: string;
  readonly size: number;
}

export interface IndexEntry {
  readonly digest: string;
  /** Absent of what builders add of an image. */
  readonly platform: Platform | undefined;
}

const Descriptor = Type.Object({
  digest: Digest,
  size: Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER / 2000 }),
});
const PartsManifest = Type.Object({ config: Descriptor, layers: Type.Array(Descriptor, { maxItems: 1000 }) });
const FactsConfig = Type.Object({
  created: Type.Optional(Type.String({ maxLength: 100 })),
  config: Type.Optional(
    Type.Union([
      Type.Null(),
      Type.Object({
        Labels: Type.Optional(
          Type.Union([Type.Null(), Type.Record(Type.String(), Type.String(), { maxProperties: 1000 })]),
        ),
      }),
    ]),
  ),
});

export type ImageManifest =
  | { readonly kind: 'image'; readonly config: string }
  | { readonly kind: 'index'; readonly entries: readonly PlatformEntry[] };

/** @throws AppError `unprocessable` for what is neither an image nor an index */
export function readManifest(image: string, body: Buffer): ImageManifest {
  const parsed = parseJson(body);
  if (is(Manifest, parsed)) return { kind: 'image', config: parsed.config.digest };
  if (!is(Index, parsed)) throw unreadable(image, 'manifest');
  const entries = parsed.manifests.flatMap(({ digest, platform }) =>
    // What builders add of an image (its provenance) stands under this name.
    platform === undefined || platform.os === 'unknown' ? [] : [{ digest, platform }],
  );
  return { kind: 'index', entries };
}

/**
 * What a manifest names: blobs, or other manifests.
 * @throws AppError `unprocessable` for what is neither an image nor an index
 */
export function readParts(
  image: string,
  body: Buffer,
):
  | { readonly kind: 'image'; readonly config: string; readonly parts: readonly Part[] }
  | { readonly kind: 'index'; readonly entries: readonly IndexEntry[] } {
  const parsed = parseJson(body);
  if (is(PartsManifest, parsed)) {
    const parts = [parsed.config, ...parsed.layers].map(({ digest, size }) => ({ digest, size }));
    return { kind: 'image', config: parsed.config.digest, parts };
  }
  if (!is(Index, parsed)) throw unreadable(image, 'manifest');
  const entries = parsed.manifests.map(({ digest, platform }) => ({
    digest,
    platform: platform?.os === 'unknown' ? undefined : platform,
  }));
  return { kind: 'index', entries };
}

/** @throws AppError `unprocessable` */
export function readConfigFacts(
  image: string,
  body: Buffer,
): { readonly createdAt: number | undefined; readonly labels: Readonly<Record<string, string>> } {
  const parsed = parseJson(body);
  if (!is(FactsConfig, parsed)) throw unreadable(image, 'configuration');
  const time = Date.parse(parsed.created ?? '');
  return { createdAt: Number.isNaN(time) ? undefined : time, labels: parsed.config?.Labels ?? {} };
}

/** @throws AppError `unprocessable` */
export function readConfig(image: string, body: Buffer): { user: string; platform: Platform } {
  const parsed = parseJson(body);
  if (!is(Config, parsed)) throw unreadable(image, 'configuration');
  const { os, architecture, variant, config } = parsed;
  return {
    user: config?.User ?? '',
    platform: { os, architecture, ...(variant === undefined || variant === '' ? {} : { variant }) },
  };
}

/**
 * The entry for a platform: its own variant before one without, before any other.
 * @throws AppError `unprocessable` where there is none
 */
export function choosePlatform(
  image: string,
  entries: readonly PlatformEntry[],
  wanted: Platform,
): PlatformEntry {
  const fit = entries.filter(
    ({ platform }) => platform.os === wanted.os && platform.architecture === wanted.architecture,
  );
  const found =
    fit.find(({ platform }) => platform.variant === wanted.variant) ??
    fit.find(({ platform }) => platform.variant === undefined) ??
    fit[0];
  if (found !== undefined) return found;
  const names = [...new Set(entries.map(({ platform }) => platformText(platform)))];
  const there = names.length === 0 ? 'for no platform at all' : `for ${names.slice(0, 20).join(', ')} only`;
  throw new AppError(
    'unprocessable',
    `The image ${image} is made ${there}, not for ${platformText(wanted)}.`,
  );
}

export function platformText({ os, architecture, variant }: Platform): string {
  return [os, architecture, ...(variant === undefined ? [] : [variant])].join('/');
}

function is<T extends TSchema>(schema: T, value: unknown): value is Static<T> {
  return Check(schema, value);
}

function parseJson(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString());
  } catch {
    return undefined;
  }
}

function unreadable(image: string, what: string): AppError {
  return new AppError('unprocessable', `The ${what} of ${image} cannot be read: it is no container image.`);
}
