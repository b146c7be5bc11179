import type { HostileCase } from './hostile-cases.ts';
import type { RawAnswer } from './raw-http.ts';
import { root } from './server.ts';

/** Refusals that are of no field of the request, and why. */
const fieldless: ReadonlyMap<number, string> = new Map([
  [401, 'says nothing of why a login is wrong'],
  [403, 'a presigned URL is good for what was signed, whatever was changed'],
  [404, 'what is named does not exist, or the path has no such method (OSCAR §0)'],
  [409, 'the state of what is named is in the way'],
  [412, 'the condition holds or not'],
  [417, 'an expectation that nobody knows: HTTP itself'],
  [431, 'more headers than are read: HTTP itself'],
]);

/** What is wrong with an answer to a hostile request. */
export function faultsOf(
  hostile: HostileCase,
  answer: RawAnswer,
  secrets: { readonly data: string; readonly password: string },
): readonly string[] {
  const { status, head, body } = answer;
  if (status === 0) return hostile.half === true ? [] : ['no answer'];
  return [
    ...(status >= 500 ? ['a failure of the server'] : []),
    ...(hostile.kind === 'method' && status !== 404 ? ['a method that is not there'] : []),
    ...(hostile.kind === 'undeclared' && hostile.operation.scheme !== 'presigned' && status === 400
      ? ['not ignored']
      : []),
    ...(isUndocumented(hostile, status) ? ['an undocumented status'] : []),
    ...(status >= 400 && status < 500 && !fieldless.has(status) ? namingFaults(hostile, answer) : []),
    ...(/^x-injected/im.test(head) ? ['a header was injected'] : []),
    ...(/^access-control-allow-(?:origin|credentials)/im.test(head) ? ['an origin was let in'] : []),
    ...(/\n\s+at \S.*:\d+:\d+/.test(body) || body.includes('node_modules') ? ['a stack trace'] : []),
    ...(body.includes(secrets.password) ? ['the password'] : []),
    ...(status >= 400 && (body.includes(secrets.data) || body.includes(root))
      ? ['a path of the machine']
      : []),
  ];
}

/** The path may be another operation's, or none's, when it was changed. */
function isUndocumented({ kind, operation }: HostileCase, status: number): boolean {
  if (kind === 'connection' || kind === 'method') return false;
  if (kind === 'path' && status !== 400) return false;
  return status !== 417 && status !== 431 && !operation.statuses.has(status);
}

function namingFaults(hostile: HostileCase, { head, body }: RawAnswer): readonly string[] {
  const { operation, kind, field } = hostile;
  // Refused before anybody looked for a route.
  if (kind === 'connection' || operation.method === 'HEAD') return [];
  if (operation.wire === 'oscar') {
    // OSCAR's words for what is no JSON name nothing.
    if (field === undefined) return body === '' ? ['says nothing'] : [];
    return isNamed(field, [body]) ? [] : [`does not name ${field}`];
  }
  if (!/^content-type: application\/problem\+json\r?$/im.test(head)) return ['is no problem'];
  const problem = JSON.parse(body) as { field?: string; detail: string };
  if (problem.field === undefined || problem.field === '') return ['names no field'];
  return isNamed(field ?? 'body', [problem.field, problem.detail])
    ? []
    : [`names another field than ${field ?? 'body'}`];
}

/** By its name, by that of what it is a part of, or in the words of what refused it. */
function isNamed(field: string, texts: readonly string[]): boolean {
  const parts = [...field.split('.'), ...(words.get(field) ?? [])];
  return parts.some((part) => texts.some((text) => plain(text).includes(plain(part))));
}

const words: ReadonlyMap<string, readonly string[]> = new Map([
  // OSCAR's text (OSCAR §1.7).
  ['expires_in', ['Invalid expiration requested']],
  // The store knows no headers.
  ['X-Amz-Meta-camera', ['metadata']],
]);

/** Fields may be written as Go does (`ObjectKey`) or in words (`object key`). */
const plain = (text: string): string => text.toLowerCase().replaceAll(/[\s_-]/g, '');
