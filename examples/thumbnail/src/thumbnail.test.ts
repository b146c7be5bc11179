import { spawnSync } from 'node:child_process';
import { mkdir, mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import sharp from 'sharp';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import {
  EXIT_NOT_A_PICTURE,
  EXIT_USAGE,
  ThumbnailError,
  makeThumbnails,
  outputNames,
  thumbnailOptions,
} from './thumbnail.mjs';

const here = fileURLToPath(new URL('..', import.meta.url));
const sample = (name: string) => join(here, 'samples', name);
const defaults = thumbnailOptions({});

let folder: string;
let outputDir: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'thumbnail-'));
  outputDir = join(folder, 'out');
  await mkdir(outputDir);
});
afterEach(() => rm(folder, { recursive: true, force: true }));

async function written(name: string, content: string | Buffer) {
  const path = join(folder, name);
  await writeFile(path, content);
  return path;
}

const plain = (width: number, height: number) =>
  sharp({ create: { width, height, channels: 3, background: { r: 200, g: 40, b: 90 } } });

async function failureOf(work: Promise<unknown>) {
  const error = await work.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(ThumbnailError);
  return error as ThumbnailError;
}

describe('thumbnailOptions', () => {
  test('has defaults, also for variables that are set to nothing', () => {
    expect(thumbnailOptions({ THUMBNAIL_SIZE: '' })).toEqual({
      size: 320,
      quality: 80,
      maxPixels: 50_000_000,
    });
  });

  test('reads whole numbers', () => {
    expect(
      thumbnailOptions({ THUMBNAIL_SIZE: '64', THUMBNAIL_QUALITY: '50', THUMBNAIL_MAX_PIXELS: '1000' }),
    ).toEqual({ size: 64, quality: 50, maxPixels: 1000 });
  });

  test.each(['0', '-1', '1.5', 'big', '4097', '1e3', '99999999999'])('refuses THUMBNAIL_SIZE=%s', (size) => {
    expect(() => thumbnailOptions({ THUMBNAIL_SIZE: size })).toThrow(/THUMBNAIL_SIZE must be a whole number/);
  });
});

describe('outputNames', () => {
  test.each([
    ['/in/photo.jpg', 'jpeg', 'photo-small.jpg', 'photo-grey.jpg'],
    ['/in/PHOTO.JPEG', 'jpeg', 'PHOTO-small.jpeg', 'PHOTO-grey.jpeg'],
    ['/in/two.dots.png', 'png', 'two.dots-small.png', 'two.dots-grey.png'],
    ['/in/a picture + 100%.webp', 'webp', 'a picture + 100%-small.webp', 'a picture + 100%-grey.webp'],
    ['/in/no-ending', 'png', 'no-ending-small.png', 'no-ending-grey.png'],
    ['/in/lies.png', 'jpeg', 'lies-small.jpg', 'lies-grey.jpg'],
    ['/in/.png', 'png', '.png-small.png', '.png-grey.png'],
    ['/in/größe.avif', 'heif', 'größe-small.avif', 'größe-grey.avif'],
  ] as const)('%s, a %s', (path, format, small, grey) => {
    expect(outputNames(path, format)).toEqual({ small, grey });
  });

  test('refuses a name that leaves no room, counted in bytes', () => {
    expect(outputNames(`${'a'.repeat(245)}.jpg`, 'jpeg').small).toHaveLength(255);
    expect(() => outputNames(`${'a'.repeat(246)}.jpg`, 'jpeg')).toThrow(/too long/);
    expect(() => outputNames(`${'é'.repeat(123)}.jpg`, 'jpeg')).toThrow(/too long/);
  });
});

describe('makeThumbnails', () => {
  test('makes a small and a grey picture of a photograph', async () => {
    const made = await makeThumbnails(sample('sunset.jpg'), outputDir, defaults);
    expect(made.map(({ name, width, height }) => [name, width, height])).toEqual([
      ['sunset-small.jpg', 320, 240],
      ['sunset-grey.jpg', 640, 480],
    ]);
    expect((await readdir(outputDir)).sort()).toEqual(['sunset-grey.jpg', 'sunset-small.jpg']);
    const small = await sharp(join(outputDir, 'sunset-small.jpg')).metadata();
    expect(small).toMatchObject({ format: 'jpeg', width: 320, height: 240, channels: 3 });
    const grey = await sharp(join(outputDir, 'sunset-grey.jpg')).metadata();
    expect(grey).toMatchObject({ format: 'jpeg', width: 640, height: 480, channels: 1, space: 'b-w' });
  });

  test('keeps transparency', async () => {
    await makeThumbnails(sample('badge.png'), outputDir, defaults);
    for (const name of ['badge-small.png', 'badge-grey.png']) {
      const picture = sharp(join(outputDir, name));
      expect(await picture.metadata()).toMatchObject({ format: 'png', hasAlpha: true });
      const corner = await picture
        .ensureAlpha()
        .extract({ left: 0, top: 0, width: 1, height: 1 })
        .raw()
        .toBuffer();
      expect(corner.at(-1)).toBe(0);
    }
  });

  test('gives the same bytes each time, so that a second delivery changes nothing', async () => {
    await makeThumbnails(sample('badge.png'), outputDir, defaults);
    const first = await readFile(join(outputDir, 'badge-small.png'));
    await makeThumbnails(sample('badge.png'), outputDir, defaults);
    expect(await readFile(join(outputDir, 'badge-small.png'))).toEqual(first);
  });

  test.each(['jpeg', 'png', 'webp', 'gif', 'tiff', 'avif'] as const)(
    'keeps the format %s',
    async (format) => {
      const path = await written('picture', await plain(400, 100).toFormat(format).toBuffer());
      const [small] = await makeThumbnails(path, outputDir, { ...defaults, size: 40 });
      expect(small).toMatchObject({ width: 40, height: 10 });
      const expected = format === 'avif' ? 'heif' : format;
      expect((await sharp(join(outputDir, small?.name ?? '')).metadata()).format).toBe(expected);
    },
  );

  test('turns a picture upright and drops its metadata', async () => {
    const path = await written(
      'turned.jpg',
      await plain(200, 100).withMetadata({ orientation: 6 }).jpeg().toBuffer(),
    );
    const made = await makeThumbnails(path, outputDir, { ...defaults, size: 50 });
    expect(made.map(({ width, height }) => [width, height])).toEqual([
      [25, 50],
      [100, 200],
    ]);
    const { orientation, exif } = await sharp(join(outputDir, 'turned-small.jpg')).metadata();
    expect([orientation ?? 1, exif]).toEqual([1, undefined]);
  });

  test('does not enlarge', async () => {
    const path = await written('tiny.png', await plain(10, 4).png().toBuffer());
    const [small] = await makeThumbnails(path, outputDir, defaults);
    expect(small).toMatchObject({ width: 10, height: 4 });
  });

  test('accepts the pixel limit and refuses one more', async () => {
    const path = await written('wide.png', await plain(100, 10).png().toBuffer());
    await makeThumbnails(path, outputDir, { ...defaults, maxPixels: 1000 });
    const error = await failureOf(makeThumbnails(path, outputDir, { ...defaults, maxPixels: 999 }));
    expect(error.exitCode).toBe(EXIT_NOT_A_PICTURE);
    expect(error.message).toBe('"wide.png" has 100x10 pixels; the limit is 999 (THUMBNAIL_MAX_PIXELS)');
  });

  test('refuses a small file that claims to be huge before it decodes it', async () => {
    const png = await plain(1, 1).png().toBuffer();
    png.writeUInt32BE(60_000, 16);
    png.writeUInt32BE(60_000, 20);
    const error = await failureOf(makeThumbnails(await written('bomb.png', png), outputDir, defaults));
    expect(error.exitCode).toBe(EXIT_NOT_A_PICTURE);
  });

  test.each([
    ['text', 'This is a letter, not a picture.\n', /"text" is not a picture that can be read/],
    ['empty', '', /"empty" is empty/],
    [
      'drawing.svg',
      '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>',
      /not a picture that can be read/,
    ],
  ])('refuses %s and leaves nothing behind', async (name, content, message) => {
    const error = await failureOf(makeThumbnails(await written(name, content), outputDir, defaults));
    expect(error).toMatchObject({
      exitCode: EXIT_NOT_A_PICTURE,
      message: expect.stringMatching(message) as string,
    });
    expect(await readdir(outputDir)).toEqual([]);
  });

  test('refuses a picture that was cut off and leaves nothing behind', async () => {
    const whole = await readFile(sample('sunset.jpg'));
    const path = await written('cut.jpg', whole.subarray(0, whole.length / 2));
    const error = await failureOf(makeThumbnails(path, outputDir, defaults));
    expect(error).toMatchObject({
      exitCode: EXIT_NOT_A_PICTURE,
      message: expect.stringMatching(/may be damaged/) as string,
    });
    expect(await readdir(outputDir)).toEqual([]);
  });

  test('refuses a folder', async () => {
    const error = await failureOf(makeThumbnails(folder, outputDir, defaults));
    expect(error.message).toMatch(/is not a file/);
  });

  test('leaves nothing behind when the second picture cannot be written', async () => {
    await mkdir(join(outputDir, 'badge-grey.png', 'in-the-way'), { recursive: true });
    await expect(makeThumbnails(sample('badge.png'), outputDir, defaults)).rejects.toThrow(/EISDIR/);
    expect(await readdir(outputDir)).toEqual(['badge-grey.png']);
  });
});

describe('script.sh', () => {
  const bin = join(folderOfBin(), 'sluice-thumbnail');
  function folderOfBin() {
    return join(here, 'bin');
  }

  /** A folder with a command `sluice-thumbnail`, as npm and the image make one, in front of PATH. */
  async function run(inputPath: string, env: Record<string, string> = {}) {
    const commands = join(folder, 'commands');
    await mkdir(commands, { recursive: true });
    await writeFile(
      join(commands, 'sluice-thumbnail'),
      `#!/bin/sh\nexec "${process.execPath}" "${bin}.mjs" "$@"\n`,
      { mode: 0o755 },
    );
    return spawnSync('/bin/sh', [join(here, 'script.sh')], {
      encoding: 'utf8',
      timeout: 15_000,
      env: {
        PATH: `${commands}:/usr/bin:/bin`,
        INPUT_FILE_PATH: inputPath,
        TMP_OUTPUT_DIR: outputDir,
        ...env,
      },
    });
  }

  test('makes the pictures of a name with spaces and says what it made', async () => {
    const path = await written('-a b.png', await plain(40, 20).png().toBuffer());
    const { status, stdout, stderr } = await run(path, { THUMBNAIL_SIZE: '10' });
    expect([status, stderr]).toEqual([0, '']);
    expect(stdout).toMatch(/^-a b-small\.png: 10x5, \d+ bytes\n-a b-grey\.png: 40x20, \d+ bytes\n$/);
    expect((await readdir(outputDir)).sort()).toEqual(['-a b-grey.png', '-a b-small.png']);
  });

  test.each([
    ['what is no picture', {}, EXIT_NOT_A_PICTURE, /^sluice-thumbnail: "letter\.jpg" is not a picture/],
    ['a wrong setting', { THUMBNAIL_SIZE: 'big' }, EXIT_USAGE, /^sluice-thumbnail: THUMBNAIL_SIZE must be/],
    ['a missing program', { PATH: '/nowhere' }, 127, /not on PATH: run "npm ci"/],
  ])('fails clearly on %s', async (_what, env, code, message) => {
    const { status, stderr } = await run(await written('letter.jpg', 'Dear Sir or Madam'), env);
    expect(status).toBe(code);
    expect(stderr).toMatch(message);
    expect(stderr.split('\n')).toHaveLength(2);
  });

  test('fails with code 1 on a folder that cannot be written', async () => {
    const { status, stderr } = await run(sample('badge.png'), { TMP_OUTPUT_DIR: join(folder, 'missing') });
    expect([status, stderr.includes('ENOENT')]).toEqual([1, true]);
  });
});
