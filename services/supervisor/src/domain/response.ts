import { crc32 } from 'node:zlib';

export interface ResponseFile {
  /** Path below the output folder. */
  readonly name: string;
  readonly data: Uint8Array;
}

/**
 * What a synchronous call is answered with (OSCAR §7.7): for an unknown event the one output file in base64, or all of them as a ZIP
 * archive (stored, relative names) in base64; without files, and for any other event, what the script printed. Ends with a line break.
 * @param at epoch milliseconds, the time of the archive's entries
 */
export function responseBody(response: {
  readonly unknownEvent: boolean;
  readonly files: readonly ResponseFile[];
  readonly output: Uint8Array;
  readonly at: number;
}): Uint8Array {
  const { files } = response;
  const [first] = files;
  const newline = Buffer.from('\n');
  if (!response.unknownEvent || first === undefined) return Buffer.concat([response.output, newline]);
  const data = files.length === 1 ? first.data : zipArchive(files, response.at);
  return Buffer.from(`${Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString('base64')}\n`);
}

/** What a script printed, for `responseBody`. */
export interface OutputCollector {
  add(chunk: Uint8Array): void;
  bytes(): Uint8Array;
  /** Bytes that were not kept. */
  dropped(): number;
  /** There was no room for it: nothing of it is kept. */
  crowded(): boolean;
}

/**
 * Keeps what a script prints up to a limit; what comes later is counted and dropped.
 * @param hold false: there is no room for so many bytes
 */
export function createOutputCollector(
  limitBytes: number,
  hold: (bytes: number) => boolean = () => true,
): OutputCollector {
  const chunks: Uint8Array[] = [];
  let kept = 0;
  let dropped = 0;
  let crowded = false;
  const dropAll = (): void => {
    crowded = true;
    dropped += kept;
    kept = 0;
    chunks.length = 0;
  };
  return {
    add: (chunk) => {
      if (!crowded && !hold(Math.min(chunk.length, limitBytes - kept))) dropAll();
      const part = chunk.subarray(0, crowded ? 0 : limitBytes - kept);
      if (part.length > 0) chunks.push(Uint8Array.from(part));
      kept += part.length;
      dropped += chunk.length - part.length;
    },
    bytes: () => Buffer.concat(chunks),
    dropped: () => dropped,
    crowded: () => crowded,
  };
}

/** Sizes and offsets of a ZIP archive have 32 bits, its counts 16 (APPNOTE 4.4): more needs ZIP64, which an answer never does. */
const maxArchiveBytes = 0xffff_ffff;
const maxArchiveFiles = 0xffff;

function zipArchive(files: readonly ResponseFile[], at: number): Uint8Array {
  const total = files.reduce(
    (sum, file) => sum + file.data.length + 2 * Buffer.byteLength(file.name) + 76,
    22,
  );
  if (total > maxArchiveBytes || files.length > maxArchiveFiles)
    throw new RangeError('too much for one archive');
  const parts: Uint8Array[] = [];
  const directory: Uint8Array[] = [];
  let offset = 0;
  for (const file of files) {
    const name = Buffer.from(file.name);
    const common = zipEntry(file, name.length, at);
    const local = Buffer.concat([Buffer.from('PK\u0003\u0004'), common, name]);
    // Comment length, disk and internal attributes are 0; then external attributes (a plain file's mode) and the offset.
    const central = Buffer.alloc(14);
    central.writeUInt32LE(0o100644 * 0x10000, 6);
    central.writeUInt32LE(offset, 10);
    // "made by" 3.0 on Unix, so that the mode above counts.
    const madeBy = Buffer.from([0x1e, 0x03]);
    directory.push(Buffer.concat([Buffer.from('PK\u0001\u0002'), madeBy, common, central, name]));
    parts.push(local, file.data);
    offset += local.length + file.data.length;
  }
  const size = directory.reduce((sum, entry) => sum + entry.length, 0);
  const end = Buffer.alloc(22);
  end.write('PK\u0005\u0006', 'latin1');
  end.writeUInt16LE(files.length, 8);
  end.writeUInt16LE(files.length, 10);
  end.writeUInt32LE(size, 12);
  end.writeUInt32LE(offset, 16);
  return Buffer.concat([...parts, ...directory, end]);
}

/** The fields that the local header and the directory's have in common (APPNOTE 4.3.7), from "version needed" to "extra length". */
function zipEntry(file: ResponseFile, nameLength: number, at: number): Uint8Array {
  const date = new Date(at);
  const year = Math.min(Math.max(date.getUTCFullYear(), 1980), 2107);
  const entry = Buffer.alloc(26);
  entry.writeUInt16LE(20, 0);
  // Bit 11: the name is UTF-8. Method 0: stored.
  entry.writeUInt16LE(0x0800, 2);
  entry.writeUInt16LE(0, 4);
  entry.writeUInt16LE(
    (date.getUTCHours() << 11) | (date.getUTCMinutes() << 5) | (date.getUTCSeconds() >> 1),
    6,
  );
  entry.writeUInt16LE(((year - 1980) << 9) | ((date.getUTCMonth() + 1) << 5) | date.getUTCDate(), 8);
  entry.writeUInt32LE(crc32(file.data), 10);
  entry.writeUInt32LE(file.data.length, 14);
  entry.writeUInt32LE(file.data.length, 18);
  entry.writeUInt16LE(nameLength, 22);
  return entry;
}
