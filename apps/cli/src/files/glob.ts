/** Whether a path has anything that a glob would read: `*`, `?`, `[…]`, `{a,b}`. */
export function hasGlob(text: string): boolean {
  return /[*?[\]{}]/.test(text);
}

/** The folder of a pattern that no wildcard is in: `photos/2026/` of `photos/2026/*.jpg`; empty where there is none. */
export function globBase(pattern: string): string {
  const first = pattern.search(/[*?[\]{}]/);
  const fixed = first === -1 ? pattern : pattern.slice(0, first);
  return fixed.slice(0, fixed.lastIndexOf('/') + 1);
}

/**
 * The keys that a pattern names: `*` and `?` stay within a folder, a `**` that stands alone spans folders, `[a-z]` and `[!a-z]` are one character,
 * `{a,b}` is either.
 */
export function globToRegExp(pattern: string): RegExp {
  let source = '';
  let depth = 0;
  for (let index = 0; index < pattern.length;) {
    const { text, length, braces } = nextPart(pattern, index, depth);
    source += text;
    index += length;
    depth += braces;
  }
  // The brace that seemed to close one may have been in a set: `{[}]`.
  return new RegExp(`^${source}${')'.repeat(depth)}$`, 'su');
}

interface Part {
  readonly text: string;
  readonly length: number;
  /** 1 where a brace opens, -1 where it closes. */
  readonly braces: number;
}

function nextPart(pattern: string, index: number, depth: number): Part {
  const rest = pattern.slice(index);
  const part = (text: string, length: number, braces = 0): Part => ({ text, length, braces });
  const isSegmentStart = index === 0 || pattern[index - 1] === '/';
  if (isSegmentStart && rest.startsWith('**/')) return part('(?:[^/]*/)*', 3);
  if (isSegmentStart && rest === '**') return part('.*', 2);
  const set = /^\[([!^]?)(\]?[^\]]*)\]/.exec(rest);
  if (set !== null) return part(setSource(set[1] !== '', set[2] ?? ''), set[0].length);
  const char = String.fromCodePoint(rest.codePointAt(0) ?? 0);
  if (char === '*') return part('[^/]*', /^\*+/.exec(rest)?.[0].length ?? 1);
  if (char === '?') return part('[^/]', 1);
  // A brace that nothing closes is a character like any other.
  if (char === '{' && closes(rest)) return part('(?:', 1, 1);
  if (char === '}' && depth > 0) return part(')', 1, -1);
  if (char === ',' && depth > 0) return part('|', 1);
  return part(escaped(char), char.length);
}

function closes(rest: string): boolean {
  let depth = 0;
  for (const char of rest) {
    if (char === '{') depth += 1;
    if (char === '}') depth -= 1;
    if (depth === 0) return true;
  }
  return false;
}

function setSource(isNegated: boolean, members: string): string {
  // With the flag `u` nothing but syntax may be escaped: `\&` is an error.
  const inside = members.replaceAll(/[\\[\]^]/g, String.raw`\$&`);
  const safe = isValidSet(inside) ? inside : members.replaceAll(/[\\[\]^-]/g, String.raw`\$&`);
  if (safe === '') return escaped(isNegated ? '[!]' : '[]');
  // The slash stands apart, since beside a `-` it would make a range.
  return isNegated ? `(?!/)[^${safe}]` : `[${safe}]`;
}

/** A range may be the wrong way round (`[z-a]`). */
function isValidSet(members: string): boolean {
  try {
    return new RegExp(`[${members}]`, 'u') instanceof RegExp;
  } catch {
    return false;
  }
}

function escaped(text: string): string {
  return text.replaceAll(/[.*+?^${}()|[\]\\/]/g, String.raw`\$&`);
}
