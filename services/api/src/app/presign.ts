import { AppError } from '@sluice/shared/errors';
import { checkObjectKey, type ObjectStore } from '@sluice/shared/stores';
import { Type, type Static } from 'typebox';
import { decodeGoJson } from '../domain/go-json-decode.ts';
import { kubeTime } from '../domain/job-list.ts';
import type { Buckets } from './buckets.ts';

/** OSCAR §1.7; further keys (`expires`) are ignored. */
export const PresignInput = Type.Object({
  object_key: Type.String(),
  operation: Type.String(),
  expires_in: Type.Integer(),
  content_type: Type.String(),
  extra_headers: Type.Record(Type.String(), Type.String()),
});

export const PresignOutput = Type.Object({
  object_key: Type.String(),
  operation: Type.String(),
  method: Type.String(),
  url: Type.String(),
  expires_at: Type.String(),
  headers: Type.Optional(Type.Record(Type.String(), Type.String())),
});
export type PresignOutput = Static<typeof PresignOutput>;

const defaultSeconds = 900;
const maxSeconds = 604_800;

/**
 * A URL for one object (OSCAR §1.7).
 * @throws AppError `invalid_input` and `not_found` with OSCAR's texts
 */
export async function presignObject(
  bucket: string,
  body: Uint8Array,
  context: { readonly objects: Pick<ObjectStore, 'presign'>; readonly buckets: Pick<Buckets, 'get'> },
): Promise<PresignOutput> {
  const input = readInput(body);
  const key = input.object_key.replace(/^\/+|\/+$/g, '');
  if (key === '') throw new AppError('invalid_input', 'Object key cannot be empty', { field: 'object_key' });
  const operation = input.operation.toLowerCase();
  if (operation !== 'upload' && operation !== 'download') {
    throw new AppError(
      'invalid_input',
      `Unsupported operation '${input.operation}'. Allowed values are 'upload' or 'download'`,
      { field: 'operation' },
    );
  }
  const seconds = input.expires_in === 0 ? defaultSeconds : input.expires_in;
  if (seconds < 1 || seconds > maxSeconds) {
    throw new AppError(
      'invalid_input',
      `Invalid expiration requested: ${input.expires_in}. Allowed range is 1-${maxSeconds} seconds`,
      { field: 'expires_in' },
    );
  }
  await context.buckets.get(bucket).catch((error: unknown) => {
    throw error instanceof AppError && error.code === 'not_found'
      ? new AppError('not_found', `Bucket '${bucket}' not found`)
      : error;
  });
  const signed = await invalidAsPresign(() => {
    checkObjectKey(key, 'object_key');
    return context.objects.presign({
      bucket,
      key,
      operation,
      expiresInSeconds: seconds,
      ...(input.content_type === '' ? {} : { contentType: input.content_type }),
      // OSCAR signs extra headers into uploads only.
      ...(operation === 'upload' ? { headers: input.extra_headers } : {}),
    });
  });
  return {
    object_key: key,
    operation,
    method: signed.method,
    url: signed.url,
    expires_at: kubeTime(signed.expiresAt),
    ...(Object.keys(signed.headers).length === 0 ? {} : { headers: { ...signed.headers } }),
  };
}

function readInput(body: Uint8Array): Static<typeof PresignInput> {
  let input: Static<typeof PresignInput>;
  try {
    input = decodeGoJson(PresignInput, body, { root: 'PresignRequest' });
  } catch (error) {
    throw asPresign(error);
  }
  const missing = [
    ...(input.object_key === '' ? ['ObjectKey'] : []),
    ...(input.operation === '' ? ['Operation'] : []),
  ];
  if (missing.length === 0) return input;
  const lines = missing.map(
    (field) =>
      `Key: 'PresignRequest.${field}' Error:Field validation for '${field}' failed on the 'required' tag`,
  );
  throw asPresign(new AppError('invalid_input', lines.join('\n')));
}

async function invalidAsPresign<T>(act: () => Promise<T>): Promise<T> {
  try {
    return await act();
  } catch (error) {
    throw asPresign(error);
  }
}

function asPresign(error: unknown): unknown {
  if (!(error instanceof AppError) || error.code !== 'invalid_input') return error;
  const options = error.field === undefined ? { cause: error } : { cause: error, field: error.field };
  return new AppError('invalid_input', `Invalid presign request: ${error.message}`, options);
}
