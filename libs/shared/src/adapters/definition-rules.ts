import type { ServiceDefinition } from '../contracts/index.ts';
import { AppError } from '../errors/index.ts';
import type { NewDefinition } from '../stores/index.ts';

/** Nobody else may have the name. */
export function nameTaken(name: string): AppError {
  return new AppError('conflict', `There is a service named ${name} already.`, { field: 'name' });
}

/** There is no service of that uid, any more or at all. */
export function serviceGone(): AppError {
  return new AppError('not_found', 'There is no such service.');
}

/** @throws AppError where the version is another one, or the name would change */
export function checkUpdate(
  before: { readonly name: string; readonly version: number },
  expected: number,
  { definition }: NewDefinition,
): void {
  if (before.version !== expected) {
    throw new AppError(
      'conflict',
      `The service ${before.name} was changed by somebody else meanwhile; read it again.`,
    );
  }
  if (before.name !== definition.name) {
    throw new AppError('invalid_input', 'A service keeps its name.', { field: 'name' });
  }
}

/** Whoever lists definitions sees no secret: keeps a caller's mistake from storing one where they do. */
export function refuseSecrets({ token, environment }: ServiceDefinition): void {
  const field = token === '' ? 'environment.secrets' : 'token';
  if (token === '' && Object.values(environment.secrets).every((value) => value === '')) return;
  throw new AppError('invalid_input', `Secrets are stored apart: ${field} of the definition must be empty.`, {
    field,
  });
}

/** A random UUID (version 4, RFC 9562 §5.4). */
export function newUid(random: (size: number) => Uint8Array): string {
  const bytes = Buffer.from(random(16));
  bytes[6] = ((bytes[6] ?? 0) & 0x0f) | 0x40;
  bytes[8] = ((bytes[8] ?? 0) & 0x3f) | 0x80;
  const hex = bytes.toString('hex');
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-');
}

/** Every prefix that is input of this version, be it by its floors or by its definition. */
export function prefixesOf({ definition, floors }: NewDefinition): ReadonlySet<string> {
  return new Set([
    ...floors.map(({ bucket, prefix }) => pathOf(bucket, prefix)),
    ...definition.input.map(({ path }) => trimSlashes(path)),
  ]);
}

/** A prefix as the path of a definition names it, without slashes at its ends. */
export function pathOf(bucket: string, prefix: string): string {
  return trimSlashes(`${bucket}/${prefix}`);
}

function trimSlashes(path: string): string {
  return path.replace(/^\/+|\/+$/g, '');
}

/** Binds encrypted secrets to their version: in another's place it does not open. */
export function secretsContext(uid: string, version: number): string {
  return JSON.stringify([uid, version]);
}
