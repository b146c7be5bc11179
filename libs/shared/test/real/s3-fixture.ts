import { createS3ObjectStore, type S3ObjectStore } from '../../src/adapters/s3-object-store.ts';
import { Secret } from '../../src/config/index.ts';
import { systemClock } from '../../src/lifecycle/index.ts';

/** Where the S3 server of the tests is. */
export function s3Server(): { endpoint: string; accessKey: string; secretKey: string; region: string } {
  const { MINIO_ENDPOINT, MINIO_ACCESS_KEY, MINIO_SECRET_KEY, MINIO_REGION = 'us-east-1' } = process.env;
  if (!MINIO_ENDPOINT || !MINIO_ACCESS_KEY || !MINIO_SECRET_KEY) {
    throw new Error(
      'this test needs an S3 server: set MINIO_ENDPOINT, MINIO_ACCESS_KEY and MINIO_SECRET_KEY',
    );
  }
  return {
    endpoint: MINIO_ENDPOINT,
    accessKey: MINIO_ACCESS_KEY,
    secretKey: MINIO_SECRET_KEY,
    region: MINIO_REGION,
  };
}

export async function openS3Store(
  change: {
    endpoint?: string;
    publicEndpoint?: URL;
    accessKey?: string;
    secretKey?: string;
    silenceMs?: number;
  } = {},
): Promise<S3ObjectStore> {
  const { silenceMs, publicEndpoint, ...server } = { ...s3Server(), ...change };
  return createS3ObjectStore({
    connection: {
      endpoint: new URL(server.endpoint),
      region: server.region,
      accessKey: server.accessKey,
      secretKey: new Secret(server.secretKey),
      verify: true,
      ...(silenceMs === undefined ? {} : { silenceMs }),
    },
    ...(publicEndpoint === undefined ? {} : { publicEndpoint }),
    clock: systemClock,
  });
}
