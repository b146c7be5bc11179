import { createReadStream, type Stats } from 'node:fs';
import { stat } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { SourceChanged, type StreamBody } from '../api/transport.ts';
import type { Api } from '../api/routes.ts';
import { CliError, messageOf, systemCode } from '../cli-error.ts';
import { exitCodes } from '../exit-codes.ts';

export interface Upload {
  readonly file: string;
  readonly bucket: string;
  readonly key: string;
  readonly contentType?: string | undefined;
}

export interface Uploaded {
  readonly size: number;
  readonly etag: string | undefined;
}

const chunkBytes = 256 * 1024;

/**
 * Uploads one file as a stream.
 * @param onBytes told of bytes as they are read; of a negative number when the upload begins again
 * @throws CliError when the file can't be read or changes meanwhile, and for what the server says
 */
export async function uploadFile(
  api: Pick<Api, 'putObject'>,
  upload: Upload,
  onBytes: (count: number) => void,
): Promise<Uploaded> {
  try {
    const before = await stat(upload.file);
    if (!before.isFile()) throw localError(`${upload.file} is not a file`);
    const body = fileBody(upload.file, before.size, onBytes);
    const etag = await api.putObject(upload.bucket, upload.key, body, upload.contentType);
    if (isChanged(before, await stat(upload.file))) throw changed(upload.file);
    return { size: before.size, etag };
  } catch (error) {
    if (error instanceof SourceChanged) throw changed(upload.file);
    if (error instanceof CliError || systemCode(error) === undefined) throw error;
    throw localError(`${upload.file} cannot be read: ${messageOf(error)}`);
  }
}

function isChanged(before: Stats, after: Stats): boolean {
  return before.size !== after.size || before.mtimeMs !== after.mtimeMs || before.ino !== after.ino;
}

function changed(file: string): CliError {
  return new CliError(exitCodes.failed, `${file} changed while it was uploaded; upload it again.`, {
    code: 'file_changed',
  });
}

function localError(message: string): CliError {
  return new CliError(exitCodes.usage, message, { code: 'file_unreadable' });
}

function fileBody(file: string, size: number, onBytes: (count: number) => void): StreamBody {
  let counted = 0;
  return {
    size,
    open: () => {
      onBytes(-counted);
      counted = 0;
      if (size === 0) return Readable.from([]);
      // No byte past the announced size, should the file grow.
      const stream = createReadStream(file, { end: size - 1, highWaterMark: chunkBytes });
      stream.on('data', (chunk) => {
        counted += chunk.length;
        onBytes(chunk.length);
      });
      return stream;
    },
  };
}
