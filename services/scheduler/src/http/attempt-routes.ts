import {
  AttemptReport,
  isPodToken,
  PodClaim,
  RunnerClaim,
  type AttemptRef,
  type PodSubject,
} from '@sluice/shared/contracts';
import { AppError } from '@sluice/shared/errors';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { Static, TSchema } from 'typebox';
import { Compile } from 'typebox/compile';
import { boundedOutcome, boundedText } from '../domain/bounded-outcome.ts';
import type { AttemptsServerDeps } from './attempts-server.ts';

type Deps = Pick<AttemptsServerDeps, 'desk' | 'tokenKey' | 'clock' | 'answerMs'>;

/** Names only. */
const claimBytes = 4096;
/** A hundred outputs with keys of a kilobyte, escaped. */
const reportBytes = 1024 * 1024;
const maxPodName = 300;
const name = /^[A-Za-z0-9][A-Za-z0-9._-]{0,199}$/;
const attemptNumber = /^[1-9]\d{0,6}$/;
const defaultAnswerMs = 5000;

/** The routes of `contracts/pod.ts`. */
export function attemptRoutes(app: FastifyInstance, deps: Deps): void {
  const parse = { claim: bodyOf(PodClaim), report: bodyOf(AttemptReport), runner: bodyOf(RunnerClaim) };
  const answer = <T>(work: Promise<T>): Promise<T> => within(deps, work);
  void app.register((scope, _options, done) => {
    // Before the body is read: nobody's bytes are taken in for nothing.
    scope.addHook('onRequest', (request, _reply, next) => {
      const { run_id: runId, attempt } = attemptOf(request);
      checkToken(deps, request, { kind: 'attempt', runId, attempt });
      next();
    });
    scope.post('/v1/attempts/:run/:attempt/claim', { bodyLimit: claimBytes }, async (request) => {
      const { pod } = parse.claim(request.body);
      return answer(deps.desk.claim(attemptOf(request), pod.slice(0, maxPodName)));
    });
    scope.post('/v1/attempts/:run/:attempt/report', { bodyLimit: reportBytes }, async (request, reply) => {
      await answer(deps.desk.report(reportOf(parse.report(request.body), attemptOf(request))));
      return reply.code(204).send();
    });
    scope.post('/v1/attempts/:run/:attempt/storage', { bodyLimit: claimBytes }, async (request) =>
      answer(deps.desk.renew(attemptOf(request))),
    );
    done();
  });
  // What a runner's token is good for is in its body, too.
  const runnerOf = (request: FastifyRequest): { runnerId: string; claim: RunnerClaim } => {
    const { runner: runnerId = '' } = request.params as Record<string, string | undefined>;
    if (!name.test(runnerId)) throw new AppError('not_found', 'There is nothing here.');
    const claim = parse.runner(request.body);
    const { service_uid: serviceUid, service_version: serviceVersion } = claim;
    checkToken(deps, request, { kind: 'runner', runnerId, serviceUid, serviceVersion });
    return { runnerId, claim };
  };
  app.post('/v1/runners/:runner/claim', { bodyLimit: claimBytes }, async (request) => {
    const { runnerId, claim } = runnerOf(request);
    return answer(deps.desk.claimRunner(runnerId, claim));
  });
  app.post('/v1/runners/:runner/storage', { bodyLimit: claimBytes }, async (request) =>
    answer(deps.desk.renewRunner(runnerOf(request).claim)),
  );
}

function attemptOf(request: FastifyRequest): AttemptRef {
  const { run = '', attempt = '' } = request.params as Record<string, string | undefined>;
  if (!name.test(run) || !attemptNumber.test(attempt))
    throw new AppError('not_found', 'There is nothing here.');
  return { run_id: run, attempt: Number(attempt) };
}

function checkToken({ tokenKey, clock }: Deps, request: FastifyRequest, subject: PodSubject): void {
  const [scheme, token = ''] = (request.headers.authorization ?? '').split(' ', 2);
  if (scheme?.toLowerCase() !== 'bearer' || !isPodToken(tokenKey.reveal(), subject, token, clock.now()))
    throw new AppError('unauthenticated', 'The token is not of this pod, or it has expired.');
}

/** @returns checks a body; throws AppError `invalid_input` that names the field */
function bodyOf<T extends TSchema>(schema: T): (body: unknown) => Static<T> {
  const contract = Compile(schema);
  return (body) => {
    if (contract.Check(body)) return body;
    const [first] = contract.Errors(body);
    const field = (first?.instancePath ?? '').slice(1).replaceAll('/', '.');
    throw new AppError(
      'invalid_input',
      `The body does not fit: ${field === '' ? 'it' : field} ${first?.message ?? 'is wrong'}.`,
      field === '' ? {} : { field },
    );
  };
}

/** @throws AppError `invalid_input` where it speaks of another attempt than its token */
function reportOf(report: AttemptReport, ref: AttemptRef): AttemptReport {
  if (report.run_id !== ref.run_id || report.attempt !== ref.attempt) {
    throw new AppError('invalid_input', 'The report is of another attempt than its address.', {
      field: report.run_id === ref.run_id ? 'attempt' : 'run_id',
    });
  }
  if (report.kind === 'finished') return { ...report, outcome: boundedOutcome(report.outcome) };
  return report.message === undefined ? report : { ...report, message: boundedText(report.message) };
}

/** A pod is told to come again rather than kept waiting for a server that is away. */
async function within<T>({ clock, answerMs = defaultAnswerMs }: Deps, work: Promise<T>): Promise<T> {
  const timer = new AbortController();
  const late = async (): Promise<never> => {
    await clock.sleep(answerMs, timer.signal);
    throw new AppError('unavailable', 'The ledger or a store does not answer now.');
  };
  try {
    return await Promise.race([work, late()]);
  } finally {
    timer.abort();
  }
}
