/** Bytes that file systems allow in one name. */
const maxNameBytes = 255;

/**
 * The name that an object's file gets: the last segment of its key. A key may end in what no file can be called (`..`, nothing, a zero byte,
 * more than 255 bytes); the name is then made from it, its extension kept.
 */
export function inputFileName(key: string): string {
  const last = (key.split('/').findLast((segment) => segment !== '') ?? '').replaceAll('\0', '_');
  if (last === '' || last === '.' || last === '..') return 'input-file';
  if (Buffer.byteLength(last) <= maxNameBytes) return last;
  const dot = last.lastIndexOf('.');
  const extension = dot > 0 && Buffer.byteLength(last.slice(dot)) <= 32 ? last.slice(dot) : '';
  return `${cutToBytes(last, maxNameBytes - Buffer.byteLength(extension))}${extension}`;
}

/** The longest beginning of whole characters that fits. */
function cutToBytes(text: string, limit: number): string {
  let bytes = 0;
  let end = 0;
  for (const character of text) {
    bytes += Buffer.byteLength(character);
    if (bytes > limit) break;
    end += character.length;
  }
  return text.slice(0, end);
}
