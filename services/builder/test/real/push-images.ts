import { createHash, randomBytes } from 'node:crypto';

const manifestType = 'application/vnd.oci.image.manifest.v1+json';
const indexType = 'application/vnd.oci.image.index.v1+json';
const accept = `${indexType}, ${manifestType}`;

export interface PushedImage {
  readonly digest: string;
  readonly size: number;
  /** Of its one layer. */
  readonly layer: Buffer;
}

export function sha256(body: string | Buffer): string {
  return `sha256:${createHash('sha256').update(body).digest('hex')}`;
}

/** Begins an upload. @returns the status of the answer, and where to go on */
export async function beginUpload(host: string, repository: string): Promise<{ status: number; place: URL }> {
  const begun = await fetch(`http://${host}/v2/${repository}/blobs/uploads/`, { method: 'POST' });
  return { status: begun.status, place: new URL(begun.headers.get('location') ?? '', begun.url) };
}

async function pushBlob(
  host: string,
  repository: string,
  body: string | Buffer,
): Promise<{ digest: string; size: number }> {
  const digest = sha256(body);
  // As clients do: what the registry says it has is not sent.
  const known = await fetch(`http://${host}/v2/${repository}/blobs/${digest}`, { method: 'HEAD' });
  const size = Buffer.byteLength(body);
  if (known.ok) return { digest, size };
  const { status, place } = await beginUpload(host, repository);
  if (status !== 202) throw new Error(`the registry takes no push: ${status}`);
  place.searchParams.set('digest', digest);
  const headers = { 'content-type': 'application/octet-stream' };
  const put = await fetch(place, { method: 'PUT', body: Buffer.from(body), headers });
  if (put.status !== 201) throw new Error(`the registry takes no blob: ${put.status}`);
  return { digest, size };
}

async function pushManifest(
  host: string,
  repository: string,
  name: string | undefined,
  manifest: { readonly mediaType: string; readonly [field: string]: unknown },
): Promise<{ digest: string; size: number }> {
  const body = JSON.stringify(manifest);
  const digest = sha256(body);
  const url = `http://${host}/v2/${repository}/manifests/${name ?? digest}`;
  const put = await fetch(url, { method: 'PUT', body, headers: { 'content-type': manifest.mediaType } });
  if (put.status !== 201)
    throw new Error(`the registry takes no manifest: ${put.status} ${await put.text()}`);
  return { digest, size: Buffer.byteLength(body) };
}

/** Pushes an image of one random layer, or of the given one. @param tags none: by digest only */
export async function pushImage(
  host: string,
  repository: string,
  tags: readonly string[],
  { createdAt, layer = randomBytes(64 * 1024) }: { readonly createdAt: number; readonly layer?: Buffer },
): Promise<PushedImage> {
  const blob = await pushBlob(host, repository, layer);
  const config = await pushBlob(
    host,
    repository,
    JSON.stringify({
      os: 'linux',
      architecture: 'amd64',
      created: new Date(createdAt).toISOString(),
      config: {},
      rootfs: { type: 'layers', diff_ids: [blob.digest] },
    }),
  );
  const manifest = {
    schemaVersion: 2,
    mediaType: manifestType,
    config: { mediaType: 'application/vnd.oci.image.config.v1+json', ...config },
    layers: [{ mediaType: 'application/vnd.oci.image.layer.v1.tar', ...blob }],
  };
  let pushed = await pushManifest(host, repository, tags[0], manifest);
  for (const tag of tags.slice(1)) pushed = await pushManifest(host, repository, tag, manifest);
  return { ...pushed, layer };
}

/** Pushes an index of images that have no tag of their own. */
export async function pushIndex(
  host: string,
  repository: string,
  tag: string,
  children: readonly Pick<PushedImage, 'digest' | 'size'>[],
): Promise<string> {
  const platform = { os: 'linux', architecture: 'amd64' };
  const manifests = children.map(({ digest, size }) => ({ mediaType: manifestType, digest, size, platform }));
  const index = { schemaVersion: 2, mediaType: indexType, manifests };
  return (await pushManifest(host, repository, tag, index)).digest;
}

interface Manifest {
  readonly config?: { readonly digest: string; readonly size: number };
  readonly layers?: readonly { readonly digest: string; readonly size: number }[];
  readonly manifests?: readonly { readonly digest: string; readonly size: number }[];
}

/** Fetches an image with all that it is made of, as a pull does. @throws where anything is missing */
export async function pull(host: string, repository: string, version: string): Promise<void> {
  const manifest = await readManifest(host, repository, version);
  if (manifest === undefined) throw new Error(`${repository}:${version} is gone`);
  for (const { digest } of manifest.manifests ?? []) await pull(host, repository, digest);
  for (const { digest } of [...(manifest.config ? [manifest.config] : []), ...(manifest.layers ?? [])]) {
    const answer = await fetch(`http://${host}/v2/${repository}/blobs/${digest}`);
    const body = Buffer.from(await answer.arrayBuffer());
    if (!answer.ok || sha256(body) !== digest) throw new Error(`a part of ${repository}:${version} is gone`);
  }
}

async function readManifest(
  host: string,
  repository: string,
  version: string,
): Promise<Manifest | undefined> {
  const answer = await fetch(`http://${host}/v2/${repository}/manifests/${version}`, { headers: { accept } });
  return answer.ok ? ((await answer.json()) as Manifest) : undefined;
}
