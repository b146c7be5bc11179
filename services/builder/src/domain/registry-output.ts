/** What `registry garbage-collect` says before it removes anything. */
const summary = /^\s*\d+ blobs marked, (\d+) blobs and (\d+) manifests eligible for deletion/;

/** Numbers of a line of a collection's output, where it has them. */
export function collectedOf(
  line: string,
): { readonly blobs: number; readonly manifests: number } | undefined {
  const [, blobs, manifests] = summary.exec(line) ?? [];
  return blobs === undefined ? undefined : { blobs: Number(blobs), manifests: Number(manifests) };
}

/** Bytes of a line that begins with a number of KiB, as those of `du -sk` do. */
export function usedBytesOf(line: string): number | undefined {
  const kib = /^\s*(\d{1,13})(?:\s|$)/.exec(line)?.[1];
  return kib === undefined ? undefined : Number(kib) * 1024;
}

export function freedBytes(before: number | undefined, after: number | undefined): number | undefined {
  return before === undefined || after === undefined ? undefined : Math.max(0, before - after);
}
