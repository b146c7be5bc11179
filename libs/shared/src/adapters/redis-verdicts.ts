import { doubt, fault, fine, isAtLeast } from '../checks/index.ts';
import type { ComponentCheck } from '../contracts/index.ts';

/** What `INFO` says, by its own names. */
export type RedisInfo = ReadonlyMap<string, string>;

/** Lines `name:value`, under headings that begin with `#`. */
export function parseRedisInfo(text: string): RedisInfo {
  const info = new Map<string, string>();
  for (const line of text.split(/\r?\n/)) {
    const colon = line.indexOf(':');
    if (colon > 0 && !line.startsWith('#')) info.set(line.slice(0, colon), line.slice(colon + 1).trim());
  }
  return info;
}

/** Everything that the server itself says about whether it may keep a run ledger. */
export function redisChecks(info: RedisInfo): readonly ComponentCheck[] {
  return [...serverChecks(info), ...persistenceChecks(info), ...evictionChecks(info), ...memoryChecks(info)];
}

function serverChecks(info: RedisInfo): readonly ComponentCheck[] {
  const name = 'Redis';
  const version = info.get('redis_version') ?? '';
  if (isAtLeast(version, [7, 0]) === false) {
    return [
      fault(
        name,
        `The server is Redis ${version}.`,
        'Sluice needs Redis 7 or newer (or Valkey): upgrade it.',
      ),
    ];
  }
  if ((info.get('role') ?? 'master') !== 'master') {
    const message = 'The server is a read-only replica: nothing can be written there.';
    return [
      fault(
        name,
        message,
        'Let REDIS_URL lead to the primary; behind a Sentinel or a service, to the name that follows it.',
      ),
    ];
  }
  if (info.get('loading') === '1')
    return [doubt(name, 'The server still loads its data.', 'Wait until it has; nothing is lost.')];
  return [fine(name, `Redis ${version}.`)];
}

function persistenceChecks(info: RedisInfo): readonly ComponentCheck[] {
  const name = 'Redis persistence';
  const enabled = info.get('aof_enabled');
  if (enabled === undefined) return [];
  if (enabled !== '1') {
    return [
      doubt(
        name,
        'The server keeps no append-only file: a restart empties the run ledger.',
        'Set "appendonly yes" (and "appendfsync everysec" or "always"). An emptied ledger is rebuilt, which takes a while and forgets what only it knew.',
      ),
    ];
  }
  if ((info.get('aof_last_write_status') ?? 'ok') !== 'ok') {
    return [
      fault(
        name,
        'The server could not write its append-only file.',
        'Look at its log and its disk: it refuses writes until it can.',
      ),
    ];
  }
  return [fine(name, 'The append-only file is on.')];
}

function evictionChecks(info: RedisInfo): readonly ComponentCheck[] {
  const name = 'Redis eviction';
  const policy = info.get('maxmemory_policy');
  if (policy === undefined) return [];
  if (policy === 'noeviction') return [fine(name, 'Nothing is thrown away (noeviction).')];
  const message = `The server throws away keys when its memory is full (maxmemory-policy ${policy}): runs would be lost silently.`;
  const mend =
    'Set "maxmemory-policy noeviction" (redis-cli config set maxmemory-policy noeviction, and in its configuration).';
  return [fault(name, message, mend)];
}

const nearly = 0.8;
const full = 0.97;

function memoryChecks(info: RedisInfo): readonly ComponentCheck[] {
  const name = 'Redis memory';
  const used = Number(info.get('used_memory'));
  const limit = Number(info.get('maxmemory') ?? '0') || Number(info.get('total_system_memory') ?? '0');
  if (!Number.isFinite(used) || !(limit > 0)) return [];
  const message = `${mebibytes(used)} of ${mebibytes(limit)} are used.`;
  const mend =
    'Give it more (maxmemory, and memory of its machine), or keep runs for a shorter time (TTL_JOB): once it is full, new runs wait.';
  if (used < nearly * limit) return [fine(name, message)];
  return [used >= full * limit ? fault(name, message, mend) : doubt(name, message, mend)];
}

function mebibytes(bytes: number): string {
  return `${Math.round(bytes / 2 ** 20)} MiB`;
}

/** Whether the ledger's memory is the one that it was. */
export function ledgerCheck(isIntact: boolean): ComponentCheck {
  const name = 'run ledger';
  if (isIntact) return fine(name, 'Whole.');
  const message =
    'Redis is new or was emptied, and the run ledger is not rebuilt yet: no runs are accepted or started.';
  return fault(
    name,
    message,
    'A scheduler rebuilds it by itself: see that one is running and reaches NATS and the S3 server; its log says how far it is.',
  );
}
