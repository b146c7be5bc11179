import { createHash } from 'node:crypto';
import { catalogue, type MessageName, subjectToken } from '../contracts/index.ts';
import { AppError } from '../errors/index.ts';

/** Headers of a message beside NATS' own `Nats-Msg-Id`. Values are text in which odd characters are percent-encoded. */
export const headerNames = {
  id: 'Nats-Msg-Id',
  name: 'schema',
  key: 'Sluice-Key',
  traceparent: 'traceparent',
  contentType: 'content-type',
  deadId: 'Sluice-Dead-Id',
  consumer: 'Sluice-Consumer',
  reason: 'Sluice-Reason',
  attempts: 'Sluice-Attempts',
  deadAt: 'Sluice-Dead-At',
} as const;

/** Subjects and names of one installation's streams. */
export interface NatsNames {
  /** `<ns>.<kind>.v1`, with a word after it. */
  subject(kind: NatsSubjectKind, ...words: readonly string[]): string;
  stream(name: string): string;
}

/**
 * `live`: events after they are stored. `arrived`: that a command was stored, without its payload. `redrive`: events for one reader
 * only. `released`: deliveries that do not count.
 */
type NatsSubjectKind = 'cmd' | 'evt' | 'dlq' | 'live' | 'arrived' | 'redrive' | 'released';

/** @throws AppError `invalid_input` for a namespace of which no stream's name can be made */
export function createNames(namespace: string): NatsNames {
  // One case only, since names of streams are in capitals.
  if (!/^[a-z0-9][a-z0-9_-]{0,31}$/.test(namespace)) {
    throw new AppError(
      'invalid_input',
      'A namespace has 1 to 32 small letters, digits, "-" and "_", and begins with a letter or a digit.',
      { field: 'namespace' },
    );
  }
  return {
    subject: (kind, ...words) => [namespace, kind, 'v1', ...words].join('.'),
    stream: (name) => `${namespace}_${name}`.toUpperCase(),
  };
}

/** The stream over a subject that others publish to: one for all installations of a server, so it is named by the subject. */
export function notifyStreamName(subject: string): string {
  const readable = subject
    .replaceAll(/[^A-Za-z0-9]/g, '_')
    .toUpperCase()
    .slice(0, 16);
  return `NOTIFY_${readable}_${createHash('sha256').update(subject).digest('hex').slice(0, 6)}`;
}

/** The subject of a message: with a key's token at its end where it has one. */
export function messageSubject(names: NatsNames, name: MessageName, key?: string): string {
  const words = key === undefined ? [name] : [name, subjectToken(key)];
  return names.subject(catalogue[name].kind, ...words);
}

/** The name that a subject carries from its nth token on. */
export function nameIn(subject: string, from: number): MessageName | undefined {
  const tokens = subject.split('.').slice(from);
  for (let count = 1; count <= tokens.length; count += 1) {
    const name = tokens.slice(0, count).join('.');
    if (Object.hasOwn(catalogue, name)) return name as MessageName;
  }
  return undefined;
}

/** Whether a token may be the hash of a key, which it cannot be turned back into. */
export function isHashed(token: string): boolean {
  return /^h-[0-9a-f]{32}$/.test(token);
}

const odd = /[^\x21-\x24\x26-\x7e]+/g;

/** A header's value for any text. */
export function encodeText(text: string): string {
  return text.replace(odd, (part) => encodeURIComponent(part.toWellFormed()));
}

/** The text of a header's value; one that others wrote may be no encoding at all. */
export function decodeText(value: string): string {
  if (!value.includes('%')) return value;
  try {
    return decodeURIComponent(value);
  } catch {
    return value;
  }
}
