/** Types of thumbnail.mjs, which stays plain JavaScript; see there for what each does. */
export declare const EXIT_USAGE: 2;
export declare const EXIT_NOT_A_PICTURE: 3;

export declare class ThumbnailError extends Error {
  readonly exitCode: number;
  constructor(message: string, exitCode: number, options?: ErrorOptions);
}

export interface ThumbnailOptions {
  readonly size: number;
  readonly quality: number;
  readonly maxPixels: number;
}

export interface MadePicture {
  readonly name: string;
  readonly bytes: number;
  readonly width: number;
  readonly height: number;
}

export declare function thumbnailOptions(env: Readonly<Record<string, string | undefined>>): ThumbnailOptions;

export declare function outputNames(
  inputPath: string,
  format: 'jpeg' | 'png' | 'webp' | 'gif' | 'tiff' | 'heif',
): { small: string; grey: string };

export declare function makeThumbnails(
  inputPath: string,
  outputDir: string,
  options: ThumbnailOptions,
): Promise<MadePicture[]>;
