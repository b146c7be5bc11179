// oxlint-disable-next-line no-control-regex -- control characters are what this is about
const control = /[\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g;

const named: Readonly<Record<string, string>> = {
  '\n': String.raw`\n`,
  '\r': String.raw`\r`,
  '\t': String.raw`\t`,
};

/** Text on one line of a terminal: control characters, which names and messages may hold, are shown and not obeyed. */
export function oneLine(text: string): string {
  return text.replaceAll(
    control,
    (char) => named[char] ?? String.raw`\u` + char.charCodeAt(0).toString(16).padStart(4, '0'),
  );
}

/** The text, or its beginning with `…`, in at most `limit` characters. */
export function shorten(text: string, limit: number): string {
  const chars = Array.from(text);
  return chars.length <= limit ? text : `${chars.slice(0, Math.max(0, limit - 1)).join('')}…`;
}

/** `3 files`, `1 file`. */
export function plural(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}
