import {
  parseBuild,
  parseImage,
  parsePruned,
  type WireBuild,
  type WireImage,
  type WirePruned,
} from './build-wire.ts';
import { encodeKey, type ApiClient } from './client.ts';
import type { HttpReply } from './transport.ts';
import { listIn, record, required, textIn, type JsonRecord } from './wire.ts';

/** What an image is to be made of. */
export interface BuildRequest {
  readonly source: string;
  /** `user:tag` */
  readonly target: string;
  readonly kind: string;
  /** The requirements file in base64; without one the image is `source` under another name. */
  readonly file?: string;
  readonly force?: boolean;
  readonly platforms?: readonly string[];
  readonly sbom?: boolean;
  readonly provenance?: boolean;
}

export interface EnsureRequest {
  readonly builder: string;
  /** The requirements file in base64. */
  readonly file: string;
  /** Whether a build that failed is tried again. */
  readonly retry: boolean;
}

/** A build that was asked for. */
export interface Asked {
  readonly id: string;
  /** As the server answered. */
  readonly raw: JsonRecord;
}

/** The image builder's routes (docs/http-api.md). */
export interface BuildApi {
  /** Sent once. @throws CliError with `retryAfter` where the queue is full */
  startBuild(request: BuildRequest): Promise<Asked>;
  ensureBuild(request: EnsureRequest): Promise<Asked>;
  builds(
    query: { readonly state?: string; readonly limit: number },
    after?: string,
  ): Promise<{ readonly items: readonly WireBuild[]; readonly next: string | undefined }>;
  build(id: string): Promise<WireBuild>;
  /** How it is then; an ended one stays as it is. */
  cancelBuild(id: string): Promise<WireBuild>;
  /** Forgets ended builds that are older. @returns what the server says of it */
  cleanBuilds(maxAgeHours: number): Promise<JsonRecord>;
  /** What there is of the log from an offset on, a line of JSON each. */
  buildLog(id: string, offset: number): Promise<HttpReply>;
  images(): Promise<readonly WireImage[]>;
  /** Undefined where there is none of that tag. */
  image(tag: string): Promise<WireImage | undefined>;
  deleteImage(tag: string, force: boolean): Promise<void>;
  pruneImages(dryRun: boolean): Promise<WirePruned>;
}

const buildPath = (id: string, rest = ''): string => `/system/builds/${segment(id)}${rest}`;
const imagePath = (tag: string): string => `/system/images/${segment(tag)}`;

function segment(text: string): string {
  return encodeKey(text).replaceAll('/', '%2F');
}

export function createBuildRoutes(client: ApiClient): BuildApi {
  const { json } = client;
  const ask = async (path: string, request: object, options: object = {}): Promise<Asked> => {
    const body = JSON.stringify(request);
    const raw = record(await json({ method: 'POST', path, body, ...options }), 'the answer to a build');
    return { id: required(raw, 'id', 'the answer to a build'), raw };
  };
  return {
    startBuild: (request) => ask('/system/api/v1/build/start', request),
    // 409: it has failed, which the build itself says better. By content: sent twice, it is the same build.
    ensureBuild: (request) =>
      ask('/system/api/v1/build/ensure', request, { accept: [409], repeatable: true }),
    builds: async (query, after) => {
      const page = record(
        await json({ method: 'GET', path: '/system/builds', query: { ...query, after } }),
        'the list of builds',
      );
      return { items: listIn(page['builds'], '"builds"').map(parseBuild), next: textIn(page, 'next') };
    },
    build: async (id) => parseBuild(await json({ method: 'GET', path: buildPath(id) })),
    cancelBuild: async (id) => parseBuild(await json({ method: 'DELETE', path: buildPath(id) })),
    cleanBuilds: async (maxAgeHours) => {
      const body = JSON.stringify({ max_age_hours: maxAgeHours });
      const path = '/system/api/v1/build/cleanup';
      return record(await json({ method: 'POST', path, body, repeatable: true }), 'the answer to a clean-up');
    },
    buildLog: (id, offset) =>
      client.send({
        method: 'GET',
        path: buildPath(id, '/logs'),
        query: { offset },
        headers: { accept: 'application/x-ndjson' },
      }),
    ...imageRoutes(client),
  };
}

type ImageRoutes = Pick<BuildApi, 'images' | 'image' | 'deleteImage' | 'pruneImages'>;

function imageRoutes(client: ApiClient): ImageRoutes {
  return {
    images: async () => {
      const answer = record(
        await client.json({ method: 'GET', path: '/system/images' }),
        'the list of images',
      );
      return listIn(answer['images'], '"images"').map(parseImage);
    },
    image: async (tag) => {
      const found = await client.find({ method: 'GET', path: imagePath(tag) });
      return found === undefined ? undefined : parseImage(found);
    },
    deleteImage: async (tag, force) => {
      const query = force ? { query: { force: true } } : {};
      await client.done({ method: 'DELETE', path: imagePath(tag), ...query });
    },
    pruneImages: async (dryRun) => {
      const query = dryRun ? { query: { dry_run: true } } : {};
      // What has gone is not there the second time.
      const request = { method: 'POST', path: '/system/images/prune', repeatable: true, ...query } as const;
      return parsePruned(await client.json(request));
    },
  };
}
