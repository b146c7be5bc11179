import type { AttemptOutcome, AttemptPlan, RunnerCall, RunnerPlan } from '@sluice/shared/contracts';
import type { Clock } from '@sluice/shared/lifecycle';
import { runAttributes, type Span, type Tracer } from '@sluice/shared/telemetry';
import type { AnswerShare } from '../domain/answer-memory.ts';
import { callAnswer, type CallAnswer } from '../domain/call-answer.ts';
import { callVariables } from '../domain/call-variables.ts';
import { createOutputCollector, type ResponseFile } from '../domain/response.ts';
import type { OutputSink, ScriptRequest, ScriptRunner, WorkFolders } from '../ports.ts';
import { readOutputs } from './read-outputs.ts';
import type { Supervisor } from './supervisor.ts';

export interface CallDeps {
  readonly perform: Supervisor['perform'];
  readonly clock: Clock;
  readonly tracer: Tracer;
  /** Bytes an answer may have. */
  readonly responseBytes: number;
}

export interface CallRequest {
  readonly plan: RunnerPlan;
  readonly call: RunnerCall;
  readonly body: Uint8Array;
  readonly scripts: ScriptRunner;
  readonly output: OutputSink;
  readonly folders: WorkFolders;
  /** What the call holds of the memory for answers. */
  readonly memory: Pick<AnswerShare, 'hold'>;
  /** Called when the script runs: there is nothing to do for the call until it prints something or ends. */
  readonly onScriptStarted: () => void;
  /** Aborted: the script is ended. */
  readonly signal: AbortSignal;
}

export interface CallUnderWay {
  /** The answer and the seconds the script took. */
  readonly answer: Promise<CallAnswer & { readonly seconds: number }>;
  /** Resolves when the call is over but for what its folder holds. */
  readonly done: Promise<void>;
}

/** Performs a call as an attempt without a run: its answer is its outcome. It is answered before its folder is given back. */
export function performCall(deps: CallDeps, request: CallRequest): CallUnderWay {
  const { promise: answer, resolve, reject } = Promise.withResolvers<CallAnswer & { seconds: number }>();
  const { plan, call, body } = request;
  const collected = createOutputCollector(deps.responseBytes, request.memory.hold);
  const timed = timedScripts(request, deps.clock);
  let files: readonly ResponseFile[] = [];
  let unknownEvent = false;
  const finish = (outcome: AttemptOutcome): void => {
    const printed = { dropped: collected.dropped(), crowded: collected.crowded() };
    const end = { outcome, unknownEvent, files, at: deps.clock.now(), limit: deps.responseBytes };
    try {
      const output = collected.bytes();
      const room = request.memory.hold(answerBytes(files, output));
      const made = callAnswer(
        room
          ? { ...end, ...printed, output }
          : { ...end, files: [], output: nothing, dropped: printed.dropped + output.length, crowded: true },
      );
      resolve({ ...made, seconds: timed.seconds() });
    } catch (error) {
      reject(error);
    }
  };
  const span = startCallSpan(deps.tracer, plan, call);
  const performed = deps.perform(attemptPlan(plan, { ...call, traceparent: span.traceparent }), {
    workDir: request.folders,
    output: request.output,
    report: () => undefined,
    signal: request.signal,
    onScriptOutput: collected.add,
    call: {
      event: body,
      scripts: timed.scripts,
      variables: callVariables(call, body.length),
      onOutputs: async (outputs) => {
        unknownEvent = outputs.unknownEvent;
        // Only then files are the answer.
        if (!unknownEvent) return;
        files = await readOutputs(
          outputs,
          deps.responseBytes,
          plan.definition.output.length > 0,
          request.memory.hold,
        );
      },
      onOutcome: (outcome) => {
        endCallSpan(span, outcome);
        finish(outcome);
      },
    },
  });
  return { answer, done: performed.then(() => undefined) };
}

const nothing = new Uint8Array(0);

/** What the answer takes beside what it is made of: files become base64. */
function answerBytes(files: readonly ResponseFile[], output: Uint8Array): number {
  if (files.length === 0) return output.length;
  return Math.ceil(files.reduce((sum, { data }) => sum + data.length, 0) / 3) * 4;
}

/** A runner's share of a call: from the caller's span to those of the script. */
function startCallSpan(tracer: Tracer, plan: RunnerPlan, call: RunnerCall): Span {
  const { name: service } = plan.definition;
  return tracer.startSpan(`call ${service}`, {
    parent: call.traceparent,
    kind: 'server',
    attributes: { ...runAttributes({ id: call.call_id, service }), 'faas.trigger': 'http' },
  });
}

function endCallSpan(span: Span, outcome: AttemptOutcome): void {
  span.setAttribute('sluice.result', outcome.result);
  if (outcome.result === 'failed' || outcome.result === 'lost') {
    span.recordError(outcome.failure?.code ?? outcome.result);
  }
  span.end();
}

/** The call's id stands for a run's. The event is not in it: bytes need no detour over text. */
function attemptPlan(plan: RunnerPlan, call: RunnerCall): AttemptPlan {
  return {
    run_id: call.call_id,
    attempt: 1,
    service_uid: plan.service_uid,
    service_version: plan.service_version,
    definition: plan.definition,
    script: plan.script,
    secrets: plan.secrets,
    event: { kind: 'inline', encoding: 'utf8', data: '' },
    traceparent: call.traceparent,
    hop: 0,
    timeout_ms: call.timeout_ms,
  };
}

function timedScripts(
  { scripts, onScriptStarted }: Pick<CallRequest, 'scripts' | 'onScriptStarted'>,
  clock: Clock,
): { readonly scripts: ScriptRunner; readonly seconds: () => number } {
  let seconds = 0;
  const run = async (request: ScriptRequest): ReturnType<ScriptRunner['run']> => {
    const started = clock.monotonic();
    try {
      const onStarted = (): void => {
        request.onStarted();
        onScriptStarted();
      };
      return await scripts.run({ ...request, onStarted });
    } finally {
      seconds = (clock.monotonic() - started) / 1000;
    }
  };
  return { scripts: { run }, seconds: () => seconds };
}
