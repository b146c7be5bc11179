import { createHash, createHmac } from 'node:crypto';
import type { S3Connection } from './s3-client.ts';

/** Keys and region as a signature needs them. */
export type Signer = Pick<S3Connection, 'accessKey' | 'secretKey' | 'region'>;

/** A time as signatures write it: `20260102T030405Z`. */
export function signatureTime(at: number): string {
  return new Date(at).toISOString().replace(/[-:]|\.\d{3}/g, '');
}

/** Day, region and service that a signature is good for. */
export function signatureScope({ region }: Signer, time: string, service: string): readonly string[] {
  return [time.slice(0, 8), region, service, 'aws4_request'];
}

/** AWS signature version 4 of a request in its canonical form. */
export function signatureOf(
  { secretKey }: Signer,
  signed: { readonly canonical: string; readonly time: string; readonly scope: readonly string[] },
): string {
  const toSign = ['AWS4-HMAC-SHA256', signed.time, signed.scope.join('/'), sha256(signed.canonical)].join(
    '\n',
  );
  const key = signed.scope.reduce(sign, Buffer.from(`AWS4${secretKey.reveal()}`));
  return sign(key, toSign).toString('hex');
}

export function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

function sign(key: Buffer, text: string): Buffer {
  return createHmac('sha256', key).update(text).digest();
}
