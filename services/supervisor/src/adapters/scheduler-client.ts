import http from 'node:http';
import https from 'node:https';
import { buffer } from 'node:stream/consumers';
import { AttemptGrant, RunnerGrant, StorageGrant, type AttemptReport } from '@sluice/shared/contracts';
import { AppError, messageOf, type ErrorCode } from '@sluice/shared/errors';
import type { Static, TSchema } from 'typebox';
import { Check } from 'typebox/value';
import type { PodSelf } from '../pod/config.ts';

/** What a pod asks of the scheduler (`contracts/pod.ts`); each a single try. */
export interface SchedulerClient {
  /** @throws AppError `conflict`: nobody wants this attempt any more; `unauthenticated`; `unavailable`: try again */
  claimAttempt(): Promise<AttemptGrant>;
  claimRunner(): Promise<RunnerGrant>;
  storage(): Promise<StorageGrant>;
  report(report: AttemptReport): Promise<void>;
  close(): void;
}

/** Milliseconds for one question. */
const answerMs = 10_000;
/** Of an answer: a plan has a script and an event in it, both bounded by the api. */
const maxAnswerBytes = 16 * 1024 * 1024;

/** Answers that trying again does not change; all other failures may pass. */
const refusals: Readonly<Record<number, ErrorCode>> = {
  400: 'unprocessable',
  401: 'unauthenticated',
  403: 'forbidden',
  404: 'not_found',
  409: 'conflict',
  410: 'conflict',
  413: 'too_large',
};

export function createSchedulerClient(options: {
  readonly url: URL;
  readonly token: string;
  readonly self: PodSelf;
}): SchedulerClient {
  const { self } = options;
  const secure = options.url.protocol === 'https:';
  const agent = new (secure ? https : http).Agent({ keepAlive: true, maxSockets: 4 });
  const base = `${options.url.href.replace(/\/+$/, '')}/v1/${pathOf(self)}`;
  const post = async (verb: string, body: unknown): Promise<string> => {
    const text = JSON.stringify(body);
    const request = (secure ? https : http).request(`${base}/${verb}`, {
      method: 'POST',
      agent,
      signal: AbortSignal.timeout(answerMs),
      headers: {
        authorization: `Bearer ${options.token}`,
        'content-type': 'application/json',
        'content-length': Buffer.byteLength(text),
      },
    });
    const { promise, resolve, reject } = Promise.withResolvers<http.IncomingMessage>();
    request.once('response', resolve).once('error', reject);
    request.end(text);
    let answer: http.IncomingMessage;
    let answered: string;
    try {
      answer = await promise;
      if (Number(answer.headers['content-length'] ?? 0) > maxAnswerBytes) answer.destroy();
      answered = (await buffer(answer)).toString();
    } catch (error) {
      throw new AppError('unavailable', `The scheduler does not answer: ${messageOf(error)}.`, {
        cause: error,
      });
    }
    const status = answer.statusCode ?? 0;
    if (status >= 200 && status < 300) return answered;
    const code = refusals[status] ?? 'unavailable';
    throw new AppError(code, `The scheduler answered ${status} to "${verb}".`);
  };
  const ask = async <S extends TSchema>(verb: string, body: unknown, schema: S): Promise<Static<S>> => {
    const value = parse(await post(verb, body));
    if (Check(schema, value)) return value;
    throw new AppError('unprocessable', `The scheduler's answer to "${verb}" is of another form.`);
  };
  const runner = self.kind === 'runner' ? runnerClaim(self) : {};
  return {
    claimAttempt: async () => ask('claim', { pod: self.pod }, AttemptGrant),
    claimRunner: async () => ask('claim', runner, RunnerGrant),
    storage: async () => ask('storage', self.kind === 'runner' ? runner : { pod: self.pod }, StorageGrant),
    report: async (report) => {
      await post('report', report);
    },
    close: () => agent.destroy(),
  };
}

function pathOf(self: PodSelf): string {
  return self.kind === 'attempt'
    ? `attempts/${encodeURIComponent(self.runId)}/${self.attempt}`
    : `runners/${encodeURIComponent(self.runnerId)}`;
}

function runnerClaim(self: Extract<PodSelf, { kind: 'runner' }>): Readonly<Record<string, unknown>> {
  return {
    pod: self.pod,
    service: self.service,
    service_uid: self.serviceUid,
    service_version: self.serviceVersion,
  };
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
