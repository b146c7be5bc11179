import { writeFile } from 'node:fs/promises';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { AttemptPlan } from '@sluice/shared/contracts';
import { SYSTEM_BUCKET } from '@sluice/shared/stores';
import { AttemptStop } from '../domain/attempt-stop.ts';
import { scriptEnvironment } from '../domain/environment.ts';
import type { RecognisedEvent } from '../domain/event.ts';
import { decodeBase64, decodeUtf8, printable } from '../domain/text.ts';
import type { InputState } from '../domain/upload-decision.ts';
import { inPhase } from './attempt-trace.ts';
import type { Attempt, SupervisorDeps } from './attempt.ts';
import { fetchInput, type WantedInput } from './fetch-input.ts';

/** What the script finds as its input. */
export interface PreparedInput {
  readonly path: string | undefined;
  /** The object it came from, for the outputs' metadata. */
  readonly state: InputState | undefined;
}

/**
 * The object that is to be fetched: the run's own, else the one that the event names; none for an unknown event.
 * @throws AttemptStop `unsupported_provider`, `event_invalid`, `input_forbidden`
 */
export function wantedInput(plan: AttemptPlan, event: RecognisedEvent): WantedInput | undefined {
  if (plan.input !== undefined) return plan.input;
  if (event.kind === 'unknown') return undefined;
  if (event.kind === 'malformed') {
    throw new AttemptStop('event_invalid', `the event cannot be used: ${event.reason}`);
  }
  if (event.kind === 'unsupported') throw unsupported(event.provider);
  const { type, id } = event.provider;
  if (id !== 'default') throw unsupported(`${type}.${printable(id)}`);
  if (event.bucket === SYSTEM_BUCKET) {
    const message = `the event names the bucket ${SYSTEM_BUCKET}, which is not for services`;
    throw new AttemptStop('input_forbidden', message);
  }
  return { bucket: event.bucket, key: event.key, etag: undefined };
}

function unsupported(provider: string): AttemptStop {
  return new AttemptStop(
    'unsupported_provider',
    `the event comes from the storage provider ${provider}, which cannot be read from: only minio.default can`,
  );
}

/** Puts the input where the script finds it: the object, or the event itself (OSCAR §7.3). `file_stage_in: true` means neither (OSCAR §2.1). */
export async function prepareInput(
  deps: SupervisorDeps,
  attempt: Attempt,
  event: RecognisedEvent,
): Promise<PreparedInput> {
  const { plan, folder, context } = attempt;
  if (plan.definition.file_stage_in) return { path: undefined, state: statedInput(plan) };
  const wanted = wantedInput(plan, event);
  if (wanted === undefined) {
    const content = event.kind === 'unknown' ? event.content : (event.eventText ?? '');
    const path = join(folder.input, `event-file-${deps.randomUuid()}`);
    await writeOwnFile(attempt, path, content);
    return { path, state: undefined };
  }
  if (event.kind === 'storage' && event.records > 1 && plan.input === undefined) {
    attempt.log.line('WARNING', `the event has ${event.records} records: only the first is used`);
  }
  attempt.progress({ phase: 'fetching' });
  const fetching = {
    objects: deps.objects,
    inputDir: folder.input,
    smallFileBytes: attempt.limits.smallFileBytes,
    signal: context.signal,
  };
  const { path, info } = await inPhase(deps, plan, 'fetch', {}, async (span) => {
    const fetched = await fetchInput(fetching, wanted);
    span.setAttribute('sluice.bytes', fetched.info.size);
    return fetched;
  });
  attempt.log.line('INFO', `input ${wanted.bucket}/${wanted.key} (${info.size} bytes) is in ${path}`);
  return { path, state: info };
}

function statedInput(plan: AttemptPlan): InputState | undefined {
  const { input } = plan;
  return input && { bucket: input.bucket, key: input.key, lastModified: input.last_modified };
}

async function writeOwnFile(attempt: Attempt, path: string, content: Uint8Array | string): Promise<void> {
  if (content.length <= attempt.limits.smallFileBytes) writeFileSync(path, content, { flag: 'wx' });
  else await writeFile(path, content, { flag: 'wx' });
}

/**
 * The script's text: the variable `SCRIPT` in base64 where the definition sets it, else the definition's script (OSCAR §7.2).
 * @throws AttemptStop `script_missing`
 */
export function scriptText(plan: AttemptPlan): string {
  const variables = plan.definition.environment.variables;
  const encoded = variables['SCRIPT'] ?? plan.secrets.environment['SCRIPT'] ?? '';
  if (encoded === '') {
    if (plan.script.trim() !== '') return plan.script;
    throw new AttemptStop('script_missing', 'No user script found!');
  }
  const bytes = decodeBase64(encoded);
  const text = bytes && decodeUtf8(bytes);
  if (text !== undefined && text.trim() !== '') return text;
  throw new AttemptStop(
    'script_missing',
    'No user script found! The variable SCRIPT is set, but not to the base64 of a script',
  );
}

/** The script's environment; an event that does not fit is put beside it as a file. */
export async function prepareEnvironment(
  deps: SupervisorDeps,
  attempt: Attempt,
  event: RecognisedEvent,
  body: Uint8Array | string,
  input: PreparedInput,
): Promise<Readonly<Record<string, string>>> {
  const { plan, folder, limits } = attempt;
  const { definition } = plan;
  const storage = event.kind === 'storage' ? event : undefined;
  const eventFile = join(folder.root, 'event');
  const port = definition.expose.api_port?.[0] ?? 0;
  const { env, eventInFile, skipped } = scriptEnvironment(
    {
      base: deps.baseEnv,
      secrets: plan.secrets.environment,
      variables: definition.environment.variables,
      serviceName: definition.name,
      serviceToken: plan.secrets.token,
      exposed: port !== 0,
      runId: plan.run_id,
      attempt: plan.attempt,
      instance: deps.instance,
      hostName: deps.hostName,
      traceparent: attempt.scriptTrace,
      query: event.query,
      http: attempt.context.call?.variables ?? [],
      eventText: event.eventText,
      eventTime: storage?.time,
      objectKey: plan.input?.key ?? storage?.key,
      inputDir: folder.input,
      outputDir: folder.output,
      inputPath: input.path,
      eventFile,
    },
    { stringBytes: limits.environmentStringBytes, totalBytes: limits.environmentBytes },
  );
  if (skipped.length > 0) {
    attempt.log.line(
      'WARNING',
      `${skipped.length} parameters or headers of the request cannot be variables and are left out`,
    );
  }
  if (eventInFile) {
    await writeOwnFile(attempt, eventFile, event.eventText ?? body);
    attempt.log.line('INFO', 'the event does not fit into EVENT: it is in the file that EVENT_FILE names');
  }
  return env;
}
