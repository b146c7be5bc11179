#!/usr/bin/env node
import { EXIT_USAGE, ThumbnailError, makeThumbnails, thumbnailOptions } from '../src/thumbnail.mjs';

const USAGE = `usage: sluice-thumbnail PICTURE OUTPUT_DIR
Writes NAME-small.EXT and NAME-grey.EXT into OUTPUT_DIR.
Environment: THUMBNAIL_SIZE (320), THUMBNAIL_QUALITY (80), THUMBNAIL_MAX_PIXELS (50000000)`;

try {
  const [picture, outputDir, ...rest] = process.argv.slice(2);
  if (!picture || !outputDir || rest.length > 0) throw new ThumbnailError(USAGE, EXIT_USAGE);
  for (const made of await makeThumbnails(picture, outputDir, thumbnailOptions(process.env)))
    console.log(`${made.name}: ${made.width}x${made.height}, ${made.bytes} bytes`);
} catch (error) {
  console.error(`sluice-thumbnail: ${error.message}`);
  process.exitCode = error instanceof ThumbnailError ? error.exitCode : 1;
}
