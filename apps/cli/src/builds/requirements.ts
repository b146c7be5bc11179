import { bytesText } from '../format/quantity.ts';

/** More than any server takes; what it takes is smaller (512 KiB unless set otherwise), and it says so. */
export const maxRequirementsBytes = 5_000_000;

/** Why bytes are no requirements file, or undefined. */
export function requirementsFault(bytes: Uint8Array): string | undefined {
  if (bytes.length > maxRequirementsBytes) return `is over ${bytesText(maxRequirementsBytes)}`;
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
    return text.trim() === '' ? 'is empty' : undefined;
  } catch {
    return 'is not UTF-8 text';
  }
}
