import { boolean, integer, secret, text } from './load.ts';

/** Variables that name a NATS server with JetStream. */
export const natsVariables = {
  NATS_URL: text({
    why: 'Addresses of the NATS servers that keep messages and definitions, separated by commas: nats://host:4222 or tls://host:4222.',
    fallback: '',
  }),
  NATS_USER: text({ why: 'User at the NATS servers.', fallback: '' }),
  NATS_PASSWORD: secret({ why: 'Password of NATS_USER.', fallback: undefined }),
  NATS_TOKEN: secret({ why: 'Token at the NATS servers, in place of a user.', fallback: undefined }),
  NATS_CA: text({
    why: 'Certificates (PEM) that are trusted for the NATS servers beside the well-known ones.',
    fallback: '',
  }),
  NATS_CERT: text({
    why: 'Certificate (PEM) that this process shows the NATS servers, with NATS_KEY.',
    fallback: '',
  }),
  NATS_KEY: secret({ why: 'Key (PEM) of NATS_CERT.', fallback: undefined }),
  NATS_STREAM_BYTES: integer({
    why: 'Bytes that each stream of messages may take, reserved on the NATS servers; past it publishing is refused. There are nine of them.',
    min: 1_048_576,
    max: 1_099_511_627_776,
    fallback: 536_870_912,
  }),
  NATS_REPLICAS: integer({
    why: 'NATS servers that keep each message and definition: 3 in a cluster of three or more.',
    min: 1,
    max: 5,
    fallback: 1,
  }),
};

/** Variables that name a Redis server. */
export const redisVariables = {
  REDIS_URL: secret({
    why: 'Address of the Redis server that keeps the run ledger, with its password: redis://:password@host:6379/0 or rediss://….',
    fallback: undefined,
  }),
  REDIS_CA: text({
    why: 'Certificates (PEM) that are trusted for the Redis server beside the well-known ones.',
    fallback: '',
  }),
};

/** What of several installations on the same servers keeps them apart. */
export const namespaceVariables = {
  SLUICE_NAMESPACE: text({
    why: 'First word of subjects, streams, buckets of definitions and keys: one for each installation that shares its NATS or Redis server with another.',
    fallback: 'sluice',
  }),
};

/** Variables that name an S3 server. */
export const s3Variables = {
  MINIO_ENDPOINT: text({
    why: 'address of the S3 server that keeps buckets and objects; without it buckets are folders of the data folder',
    fallback: '',
  }),
  MINIO_PUBLIC_ENDPOINT: text({
    why: 'Address of the S3 server for clients (/system/config, presigned URLs), where they reach it by another one than this server does.',
    fallback: '',
  }),
  MINIO_REGION: text({ why: 'region of the S3 server', fallback: 'us-east-1' }),
  MINIO_TLS_VERIFY: boolean({
    why: 'whether the S3 server’s certificate is checked',
    fallback: true,
  }),
  MINIO_CA: text({
    why: 'Certificates (PEM) that are trusted for the S3 server beside the well-known ones.',
    fallback: '',
  }),
  MINIO_ACCESS_KEY: text({
    why: 'key for the S3 server, which /system/config gives to the administrator',
    fallback: '',
  }),
  MINIO_SECRET_KEY: secret({
    why: 'secret key for the S3 server, which /system/config gives to the administrator',
    fallback: undefined,
  }),
};
