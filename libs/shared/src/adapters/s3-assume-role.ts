import http from 'node:http';
import https from 'node:https';
import { buffer } from 'node:stream/consumers';
import { getCACertificates } from 'node:tls';
import { AppError } from '../errors/index.ts';
import type { Clock } from '../lifecycle/index.ts';
import type { S3Connection } from './s3-client.ts';
import { fromS3Error } from './s3-errors.ts';
import { sha256, signatureOf, signatureScope, signatureTime } from './s3-sign.ts';
import { textOf } from './s3-xml.ts';

/** Keys that end by themselves, for a part of what those that asked for them may do. */
export interface SessionKeys {
  readonly accessKey: string;
  readonly secretKey: string;
  readonly sessionToken: string;
  /** Epoch milliseconds. */
  readonly expiresAt: number;
}

export interface AssumeRoleDeps {
  readonly connection: S3Connection;
  readonly clock: Clock;
}

/**
 * Asks an S3 server for keys that may do what a policy says, and nothing else (`AssumeRole` with a session policy).
 * @throws AppError `too_large` for a policy that the server finds too long, `unsupported` where it has no such keys, `unavailable`
 */
export type AssumeRole = (request: {
  /** JSON. */
  readonly policy: string;
  readonly durationSeconds: number;
}) => Promise<SessionKeys>;

const form = 'application/x-www-form-urlencoded';
const what = 'get short-lived keys';
const timeoutMs = 10_000;
/** Of an answer. */
const maxAnswerBytes = 262_144;
/** Codes of servers that do not know the request. */
const unknownCodes: ReadonlySet<string> = new Set([
  'MethodNotAllowed',
  'NotImplemented',
  'InvalidAction',
  'UnsupportedOperation',
]);
const tooLong: ReadonlySet<string> = new Set(['PackedPolicyTooLarge']);

/** By hand: the package's way has no time-out, leaves the port out of what it signs and is not among its exports. */
export function createAssumeRole({ connection, clock }: AssumeRoleDeps): AssumeRole {
  return async ({ policy, durationSeconds }) => {
    const body = new URLSearchParams({
      Action: 'AssumeRole',
      Version: '2011-06-15',
      DurationSeconds: String(durationSeconds),
      Policy: policy,
      // AWS and some other servers want both; MinIO passes over them.
      RoleArn: 'arn:xxx:xxx:xxx:xxxx',
      RoleSessionName: 'sluice-pod',
    }).toString();
    let answer: { readonly status: number; readonly text: string };
    try {
      answer = await send(connection, body, signedHeaders(connection, body, clock.now()));
    } catch (error) {
      throw fromS3Error(error, what);
    }
    if (answer.status !== 200) throw refusal(answer.status, answer.text);
    return keysIn(answer.text);
  };
}

function signedHeaders(
  connection: S3Connection,
  body: string,
  now: number,
): Readonly<Record<string, string>> {
  const time = signatureTime(now);
  const hash = sha256(body);
  const headers = {
    'content-type': form,
    host: connection.endpoint.host,
    'x-amz-content-sha256': hash,
    'x-amz-date': time,
  };
  const names = Object.keys(headers).join(';');
  const lines = Object.entries(headers)
    .map(([name, value]) => `${name}:${value}\n`)
    .join('');
  const canonical = ['POST', '/', '', lines, names, hash].join('\n');
  const scope = signatureScope(connection, time, 'sts');
  const signature = signatureOf(connection, { canonical, time, scope });
  const credential = [connection.accessKey, ...scope].join('/');
  return {
    ...headers,
    authorization: `AWS4-HMAC-SHA256 Credential=${credential}, SignedHeaders=${names}, Signature=${signature}`,
  };
}

async function send(
  { endpoint, verify, ca }: S3Connection,
  body: string,
  headers: Readonly<Record<string, string>>,
): Promise<{ readonly status: number; readonly text: string }> {
  const secure = endpoint.protocol === 'https:';
  const options = {
    method: 'POST',
    headers: { ...headers, 'content-length': Buffer.byteLength(body) },
    signal: AbortSignal.timeout(timeoutMs),
  };
  const trust = {
    rejectUnauthorized: verify,
    ...(ca === undefined ? {} : { ca: [...getCACertificates('default'), ca] }),
  };
  const { promise, resolve, reject } = Promise.withResolvers<http.IncomingMessage>();
  const request = secure
    ? https.request(endpoint, { ...options, ...trust })
    : http.request(endpoint, options);
  request.once('response', resolve).once('error', reject).end(body);
  const answer = await promise;
  const bytes = await buffer(limited(answer));
  return { status: answer.statusCode ?? 0, text: bytes.toString() };
}

async function* limited(answer: http.IncomingMessage): AsyncGenerator<Buffer> {
  let size = 0;
  for await (const chunk of answer as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > maxAnswerBytes) throw new AppError('unavailable', `Cannot ${what}: the answer is too long.`);
    yield chunk;
  }
}

function keysIn(xml: string): SessionKeys {
  const [accessKey, secretKey, sessionToken, expiration] = [
    'AccessKeyId',
    'SecretAccessKey',
    'SessionToken',
    'Expiration',
  ].map((name) => textOf(xml, name));
  const expiresAt = Date.parse(expiration ?? '');
  if (!accessKey || !secretKey || !sessionToken || Number.isNaN(expiresAt)) {
    throw new AppError('unavailable', `Cannot ${what}: the S3 server's answer has none.`);
  }
  return { accessKey, secretKey, sessionToken, expiresAt };
}

function refusal(status: number, xml: string): AppError {
  const code = textOf(xml, 'Code') ?? `HTTP ${status}`;
  const said = (textOf(xml, 'Message') ?? '').slice(0, 300);
  const details = { sts_code: code, sts_message: said };
  if (tooLong.has(code) || /policy.*(2048|too large|exceed)|exceed.*polic/i.test(said)) {
    return new AppError('too_large', `Cannot ${what}: the policy is too long for the S3 server.`, {
      details,
    });
  }
  if (unknownCodes.has(code) || status === 404 || status === 405 || status === 501) {
    return new AppError('unsupported', `Cannot ${what}: the S3 server has none (${code}).`, { details });
  }
  return new AppError(
    'unavailable',
    `Cannot ${what}: the S3 server refuses (${code}${said === '' ? '' : `: ${said}`}).`,
    { details },
  );
}
