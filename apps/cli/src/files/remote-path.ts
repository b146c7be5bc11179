import { usageError } from '../cli-error.ts';

/** `BUCKET/PATH` of the command line; an empty key is the bucket as a whole. */
export interface RemotePath {
  readonly bucket: string;
  readonly key: string;
}

/** @throws CliError without a bucket */
export function parseRemote(text: string): RemotePath {
  const path = text.startsWith('/') ? text.slice(1) : text;
  const slash = path.indexOf('/');
  const bucket = slash === -1 ? path : path.slice(0, slash);
  if (bucket === '' || bucket === '.' || bucket === '..') {
    throw usageError(
      `"${text}" names no bucket`,
      'It has to look like BUCKET/PATH, for example thumbnail/in/photo.jpg',
    );
  }
  return { bucket, key: slash === -1 ? '' : path.slice(slash + 1) };
}
