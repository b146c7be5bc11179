/**
 * JSON as Flask writes it: keys in order, nothing but ASCII, a line end behind it.
 * @param value made of plain objects, lists, texts, whole numbers, truth values and null; undefined properties are left out
 */
export function encodePythonJson(value: unknown): string {
  const text = JSON.stringify(inOrder(value));
  return `${text.replaceAll(/[^ -~]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`)}\n`;
}

function inOrder(value: unknown): unknown {
  if (Array.isArray(value)) return value.map((item) => inOrder(item));
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return Object.fromEntries(entries.map(([key, item]) => [key, inOrder(item)]));
}
