import { stripVTControlCharacters } from 'node:util';

/** The last of what a script printed, for the sentence that says why it failed. */
export interface OutputTail {
  add(chunk: Uint8Array): void;
  /** Whole lines where the limits allow, without control characters; empty where nothing was printed. */
  text(): string;
}

/** Keeps at most `bytes` bytes, whatever comes; `text` gives at most `lines` lines of them. */
export function createOutputTail(limits: { readonly bytes: number; readonly lines: number }): OutputTail {
  let kept = Buffer.alloc(0);
  let cut = false;
  return {
    add: (chunk) => {
      if (kept.length + chunk.length > limits.bytes) cut = true;
      // Copied: a chunk may be a view of a large buffer, which would stay in memory with it.
      const old = kept.subarray(Math.max(0, kept.length + chunk.length - limits.bytes));
      kept = Buffer.concat([old, chunk.subarray(Math.max(0, chunk.length - limits.bytes))]);
    },
    text: () => {
      // Without colours and cursor movements, then without what is left of control characters.
      const clean = stripVTControlCharacters(kept.toString('utf8')).replaceAll(/(?![\n\t])\p{Cc}/gu, '');
      const all = clean.split('\n');
      while (all.at(-1)?.trim() === '') all.pop();
      // The first line may have lost its beginning, unless it is all there is.
      if (cut && all.length > 1) all.shift();
      return all.slice(-limits.lines).join('\n');
    },
  };
}
