import { integer, secret, text } from './load.ts';

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
