/**
 * One picture in, a small one and a grey one out. Plain JavaScript, so that the image needs no build step.
 */
import { rm, stat, writeFile } from 'node:fs/promises';
import { basename, extname, join } from 'node:path';
import sharp from 'sharp';

/** What `bin/sluice-thumbnail.mjs` exits with. 1 is left to the unexpected: a full disk, a file that vanished. */
export const EXIT_USAGE = 2;
export const EXIT_NOT_A_PICTURE = 3;

/** libvips' readers by class name (Nsgif reads GIF). */
const KINDS = ['Jpeg', 'Png', 'Webp', 'Nsgif', 'Tiff', 'Heif'];
/**
 * sharp's name of a format → the endings that its files may have; the first is used when the input has none of them.
 * The `suffix` list of the service's output holds them all: what is not in it would not be uploaded.
 */
const ENDINGS = {
  jpeg: ['.jpg', '.jpeg', '.jpe', '.jfif'],
  png: ['.png'],
  webp: ['.webp'],
  gif: ['.gif'],
  tiff: ['.tif', '.tiff'],
  heif: ['.avif'],
};
/** A file name's limit on every file system that matters here, in bytes. */
const NAME_BYTES = 255;

/** An expected failure: a message for the user, an exit code for the run. */
export class ThumbnailError extends Error {
  /**
   * @param {string} message
   * @param {number} exitCode
   * @param {ErrorOptions} [options]
   */
  constructor(message, exitCode, options) {
    super(message, options);
    this.name = 'ThumbnailError';
    this.exitCode = exitCode;
  }
}

/**
 * @param {string} name
 * @param {string | undefined} text
 * @param {{ fallback: number, most: number }} range
 */
function wholeNumber(name, text, range) {
  if (text === undefined || text === '') return range.fallback;
  const value = /^\d{1,9}$/.test(text) ? Number(text) : 0;
  if (value >= 1 && value <= range.most) return value;
  throw new ThumbnailError(
    `${name} must be a whole number from 1 to ${range.most}, not "${text}"`,
    EXIT_USAGE,
  );
}

/**
 * Options from the environment: THUMBNAIL_SIZE (longest side in pixels, default 320), THUMBNAIL_QUALITY (JPEG, WebP
 * and AVIF, default 80), THUMBNAIL_MAX_PIXELS (width × height of what is accepted, default 50 million: about 200 MB
 * when a picture must be held in memory whole, which rotated and interlaced ones must).
 *
 * @param {Readonly<Record<string, string | undefined>>} env
 * @throws {ThumbnailError} EXIT_USAGE
 */
export function thumbnailOptions(env) {
  return {
    size: wholeNumber('THUMBNAIL_SIZE', env['THUMBNAIL_SIZE'], { fallback: 320, most: 4096 }),
    quality: wholeNumber('THUMBNAIL_QUALITY', env['THUMBNAIL_QUALITY'], { fallback: 80, most: 100 }),
    maxPixels: wholeNumber('THUMBNAIL_MAX_PIXELS', env['THUMBNAIL_MAX_PIXELS'], {
      fallback: 50_000_000,
      most: 500_000_000,
    }),
  };
}

/**
 * `photo.jpg` → `photo-small.jpg` and `photo-grey.jpg`. The input's ending stays, in lower case, where it fits the
 * format; a wrong or missing one is replaced (`scan.dat` that is a PNG → `scan-small.png`).
 *
 * @param {string} inputPath
 * @param {keyof typeof ENDINGS} format as sharp names it
 * @throws {ThumbnailError} EXIT_USAGE when the names would be longer than a file name may be
 */
export function outputNames(inputPath, format) {
  const endings = ENDINGS[format];
  const file = basename(inputPath);
  const given = extname(file);
  const lower = given.toLowerCase();
  const stem = given === '' ? file : file.slice(0, -given.length);
  const ending = endings.includes(lower) ? lower : endings[0];
  const small = `${stem}-small${ending}`;
  if (Buffer.byteLength(small) > NAME_BYTES)
    throw new ThumbnailError(`the name "${file}" is too long for "-small" to be added`, EXIT_USAGE);
  return { small, grey: `${stem}-grey${ending}` };
}

/**
 * The raster formats of `KINDS` and no others: libvips can be built with readers for SVG, PDF and ImageMagick's
 * hundreds, which have no place in front of files from strangers. One thread: the service declares half a CPU.
 */
function restrictedSharp() {
  sharp.block({ operation: ['VipsForeignLoad'] });
  sharp.unblock({ operation: KINDS.map((kind) => `VipsForeignLoad${kind}`) });
  sharp.cache(false);
  sharp.concurrency(1);
  return sharp;
}

/**
 * @param {string} inputPath
 * @param {number} maxPixels
 */
async function readHeader(inputPath, maxPixels) {
  const file = basename(inputPath);
  const found = await stat(inputPath);
  if (!found.isFile()) throw new ThumbnailError(`"${file}" is not a file`, EXIT_NOT_A_PICTURE);
  if (found.size === 0) throw new ThumbnailError(`"${file}" is empty`, EXIT_NOT_A_PICTURE);
  // No pixel limit here: this reads the header only, and the message below can then name the picture's size.
  const header = await restrictedSharp()(inputPath, { limitInputPixels: false })
    .metadata()
    .catch((cause) => {
      throw new ThumbnailError(
        `"${file}" is not a picture that can be read (JPEG, PNG, WebP, GIF, TIFF, AVIF): ${cause.message}`,
        EXIT_NOT_A_PICTURE,
        { cause },
      );
    });
  if (header.width * header.height > maxPixels)
    throw new ThumbnailError(
      `"${file}" has ${header.width}x${header.height} pixels; the limit is ${maxPixels} (THUMBNAIL_MAX_PIXELS)`,
      EXIT_NOT_A_PICTURE,
    );
  return header;
}

/**
 * Encoder settings by format. Transparency, where a format has it, is kept.
 *
 * @param {string} format
 * @param {number} quality
 */
function encoding(format, quality) {
  if (format === 'jpeg') return { quality, progressive: true };
  if (format === 'webp') return { quality };
  if (format === 'heif') return { quality, compression: /** @type {const} */ ('av1') };
  if (format === 'tiff') return { compression: /** @type {const} */ ('lzw') };
  return {};
}

/**
 * Writes the small and the grey picture of `inputPath` into `outputDir`, both or none. Turned upright by the camera's
 * orientation; other metadata (place, camera) is left out; of an animation the first frame is taken. The small one
 * is never larger than the original.
 *
 * @param {string} inputPath
 * @param {string} outputDir an existing folder
 * @param {ReturnType<typeof thumbnailOptions>} options
 * @throws {ThumbnailError} EXIT_NOT_A_PICTURE for what is no picture, damaged or too large
 */
export async function makeThumbnails(inputPath, outputDir, options) {
  const header = await readHeader(inputPath, options.maxPixels);
  const names = outputNames(inputPath, header.format);
  const open = () => sharp(inputPath, { limitInputPixels: options.maxPixels, failOn: 'error' }).autoOrient();
  const inside = { width: options.size, height: options.size, fit: /** @type {const} */ ('inside') };
  const pictures = [
    { name: names.small, pipeline: open().resize({ ...inside, withoutEnlargement: true }) },
    { name: names.grey, pipeline: open().greyscale().toColourspace('b-w') },
  ];
  const made = [];
  for (const { name, pipeline } of pictures) {
    const { data, info } = await pipeline
      .toFormat(header.format, encoding(header.format, options.quality))
      .toBuffer({ resolveWithObject: true })
      .catch((cause) => {
        throw new ThumbnailError(
          `"${basename(inputPath)}" could not be converted, it may be damaged: ${cause.message}`,
          EXIT_NOT_A_PICTURE,
          { cause },
        );
      });
    made.push({ name, data, width: info.width, height: info.height });
  }
  await writeAll(outputDir, made);
  return made.map(({ name, data, width, height }) => ({ name, bytes: data.length, width, height }));
}

/**
 * @param {string} outputDir
 * @param {readonly { name: string, data: Buffer }[]} files
 */
async function writeAll(outputDir, files) {
  const paths = files.map((file) => join(outputDir, file.name));
  try {
    for (const [index, file] of files.entries()) await writeFile(paths[index] ?? '', file.data);
  } catch (error) {
    // Half a picture in the output folder would be uploaded as if it were one.
    await Promise.allSettled(paths.map((path) => rm(path, { force: true })));
    throw error;
  }
}
