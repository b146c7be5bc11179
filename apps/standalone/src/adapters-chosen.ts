/** Which adapter stands behind each port, and which variable chose it. */
export const adaptersChosen = [
  { port: 'bus', adapter: 'SQLite', chosenBy: 'NATS_URL is not set' },
  { port: 'definitions', adapter: 'SQLite', chosenBy: 'NATS_URL is not set' },
  { port: 'ledger', adapter: 'SQLite', chosenBy: 'REDIS_URL is not set' },
  { port: 'objects', adapter: 'folders', chosenBy: 'MINIO_ENDPOINT is not set' },
  { port: 'executor', adapter: 'processes', chosenBy: 'the only one of this version' },
  { port: 'builds', adapter: 'none', chosenBy: 'BUILDKIT_HOST is not set' },
] as const;
