/** What an `Authorization` header offers. */
export type Credentials =
  { readonly kind: 'basic'; readonly pair: string } | { readonly kind: 'bearer'; readonly token: string };

/** Length of a service's token (OSCAR §3.3). */
export const tokenLength = 64;

/**
 * Reads an `Authorization` header. A bearer header must split on `Bearer ` into exactly two parts (OSCAR §3.3).
 * @returns undefined where there is nothing to check
 */
export function readCredentials(header: string | undefined): Credentials | undefined {
  if (header === undefined) return undefined;
  const basic = /^basic +([A-Za-z0-9+/=]+)$/i.exec(header);
  if (basic !== null) return { kind: 'basic', pair: Buffer.from(basic[1] ?? '', 'base64').toString('utf8') };
  const parts = header.split('Bearer ');
  const token = parts.length === 2 ? parts[1] : undefined;
  return token === undefined ? undefined : { kind: 'bearer', token };
}
