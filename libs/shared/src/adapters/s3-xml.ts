/*
 * What S3 answers is flat XML made by machines: no element is inside one of its own name, and no text has comments in it. Read by hand, since the
 * package takes texts for values: the key `false` is lost by it, the tag `true` becomes a boolean, and `007` a number.
 */

const entities: Readonly<Record<string, string>> = { lt: '<', gt: '>', amp: '&', quot: '"', apos: "'" };

/** What is inside every element of a name, still as XML. */
export function elementsOf(xml: string, name: string): readonly string[] {
  const found = xml.matchAll(new RegExp(`<${name}(?:\\s[^>]*)?(?:/>|>([\\s\\S]*?)</${name}>)`, 'g'));
  return [...found].map(([, inside]) => inside ?? '');
}

/** The text of the first element of a name; undefined without one. */
export function textOf(xml: string, name: string): string | undefined {
  const inside = new RegExp(`<${name}(?:\\s[^>]*)?(?:/>|>([^<]*)</${name}>)`).exec(xml);
  return inside === null ? undefined : unescapeXml(inside[1] ?? '');
}

function unescapeXml(text: string): string {
  return text.replace(/&(?:#x([0-9a-f]+)|#(\d+)|(\w+));/gi, (whole, ...[hex, decimal, name]: string[]) => {
    if (hex !== undefined) return String.fromCodePoint(Number.parseInt(hex, 16));
    if (decimal !== undefined) return String.fromCodePoint(Number(decimal));
    return entities[name ?? ''] ?? whole;
  });
}

/** A key as listings with `encoding-type=url` write it. */
export function keyIn(xml: string): string {
  return decodeURIComponent((textOf(xml, 'Key') ?? '').replaceAll('+', ' '));
}

/** A text as it stands in XML; white space that a reader would change is written as numbers. */
export function escapeXml(text: string): string {
  return text.replace(/[<>&"'\t\n\r]/g, (character) => `&#${character.charCodeAt(0)};`);
}
