import type { Clock } from '../lifecycle/index.ts';
import { encodeObjectKey, type PresignedUrl, type PresignRequest } from '../stores/index.ts';
import { requiredHeaders } from './presign.ts';
import type { S3Connection } from './s3-client.ts';
import { encodeQuery } from './s3-names.ts';
import { signatureOf, signatureScope, signatureTime } from './s3-sign.ts';

/**
 * A URL that allows one request to the S3 server for a while (AWS signature version 4 in the query). By hand: the package leaves the content type
 * out of what is signed, so that an upload could have any (OSCAR §1.7).
 */
export function presignS3(
  { connection, endpoint, clock }: { connection: S3Connection; endpoint: URL; clock: Clock },
  request: PresignRequest,
): PresignedUrl {
  const now = clock.now();
  const { sessionToken } = connection;
  const upload = request.operation === 'upload';
  const method = upload ? 'PUT' : 'GET';
  const headers = requiredHeaders(request);
  const signed = Object.entries({ ...headers, host: endpoint.host })
    .map(([name, value]) => [name.toLowerCase(), value.trim().replace(/ +/g, ' ')] as const)
    .toSorted(([a], [b]) => (a < b ? -1 : 1));
  const names = signed.map(([name]) => name).join(';');
  const time = signatureTime(now);
  const scope = signatureScope(connection, time, 's3');
  const type = upload ? undefined : request.contentType;
  const query = [
    ['X-Amz-Algorithm', 'AWS4-HMAC-SHA256'],
    ['X-Amz-Credential', [connection.accessKey, ...scope].join('/')],
    ['X-Amz-Date', time],
    ['X-Amz-Expires', String(request.expiresInSeconds)],
    ...(sessionToken === undefined ? [] : [['X-Amz-Security-Token', sessionToken.reveal()]]),
    ['X-Amz-SignedHeaders', names],
    ...(type === undefined ? [] : [['response-content-type', type]]),
  ].map((pair) => pair.map(encodeQuery).join('='));
  const path = `/${request.bucket}/${encodeObjectKey(request.key)}`;
  const lines = signed.map(([name, value]) => `${name}:${value}\n`).join('');
  const canonical = [method, path, query.join('&'), lines, names, 'UNSIGNED-PAYLOAD'].join('\n');
  const signature = signatureOf(connection, { canonical, time, scope });
  return {
    method,
    url: `${endpoint.protocol}//${endpoint.host}${path}?${query.join('&')}&X-Amz-Signature=${signature}`,
    expiresAt: now + request.expiresInSeconds * 1000,
    headers,
  };
}
