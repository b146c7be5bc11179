import { closeSync, read } from 'node:fs';
import { promisify } from 'node:util';
import { setImmediate } from 'node:timers/promises';
import { answersCrowded } from '../domain/answer-memory.ts';
import { answerTooLarge } from '../domain/call-answer.ts';
import { AttemptStop } from '../domain/attempt-stop.ts';
import type { ResponseFile } from '../domain/response.ts';
import { openOutput } from '../files/output-files.ts';
import type { CallOutputs } from '../ports.ts';

const readPiece = promisify(read);
/** What a file takes in an archive beside its bytes and its name twice. */
const entryBytes = 76;
/** Entries of a ZIP archive. */
const maxFiles = 65_535;
/** Files after which others get a turn: opening is synchronous (see `makeWorkFolder`). */
const yieldAfter = 64;

/**
 * Reads what a script left, for the answer: see `openOutput` for what is not read.
 * @param limit bytes of the answer, which is base64 of these
 * @param stored whether the files were uploaded
 * @param hold false: there is no memory for so many bytes more
 * @throws AttemptStop `answer_too_large`, to be tried again where only the memory was short
 */
export async function readOutputs(
  outputs: CallOutputs,
  limit: number,
  stored: boolean,
  hold: (bytes: number) => boolean,
): Promise<readonly ResponseFile[]> {
  const tooLarge = (): AttemptStop => new AttemptStop('answer_too_large', answerTooLarge(limit, stored));
  if (outputs.files.length > maxFiles) throw tooLarge();
  const files: ResponseFile[] = [];
  let room = Math.floor(limit / 4) * 3;
  for (const file of outputs.files) {
    const opened = openOutput(outputs.folder, file);
    if (opened.kind === 'skipped') continue;
    try {
      room -= opened.size + 2 * Buffer.byteLength(file.name) + entryBytes;
      if (room < 0) throw tooLarge();
      if (!hold(opened.size)) throw new AttemptStop('answer_too_large', answersCrowded, { retryable: true });
      files.push({ name: file.name, data: await readWhole(opened.fd, opened.size) });
    } finally {
      closeSync(opened.fd);
    }
    if (files.length % yieldAfter === 0) await setImmediate();
  }
  return files;
}

/** As much as the file had when it was opened, or less if it was cut meanwhile. */
async function readWhole(fd: number, size: number): Promise<Uint8Array> {
  const buffer = Buffer.allocUnsafe(size);
  let filled = 0;
  while (filled < size) {
    const { bytesRead } = await readPiece(fd, buffer, filled, size - filled, filled);
    if (bytesRead === 0) break;
    filled += bytesRead;
  }
  return buffer.subarray(0, filled);
}
