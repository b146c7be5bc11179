import type { WireObject, WireRun } from '../api/wire.ts';
import { stateText, type Colors } from '../format/colors.ts';
import { agoText, bytesText, durationText } from '../format/quantity.ts';
import { oneLine } from '../format/text.ts';

/** `bucket/key`, as the `file` commands take it. */
export function objectPath(object: { readonly bucket: string; readonly key: string }): string {
  return `${object.bucket}/${object.key}`;
}

function objectText(object: WireObject): string {
  const size = object.size === undefined ? '' : `  (${bytesText(object.size)})`;
  return oneLine(objectPath(object)) + size;
}

/** Why a run did not succeed, in a line: `exit code 3: the script failed`. */
export function failureText(run: WireRun): string {
  const message = run.failure === undefined ? undefined : firstLine(run.failure.message || run.failure.code);
  const exit = run.exitCode === undefined || run.exitCode === 0 ? undefined : `exit code ${run.exitCode}`;
  if (message === undefined) return exit ?? run.state;
  return exit === undefined || message.includes(exit) ? message : `${exit}: ${message}`;
}

/** The server's messages may go on with lines of the log, which are shown as such; so the words that lead to them go, too. */
function firstLine(text: string): string {
  return oneLine((text.split('\n', 1)[0] ?? '').replace(/; its last lines:$/, ''));
}

/** How long a run's last attempt took, or has taken. */
export function runDuration(run: WireRun, now: number): number | undefined {
  return run.startedAt === undefined ? undefined : (run.finishedAt ?? now) - run.startedAt;
}

/** A run with its time line, for a person. Times of the time line are relative to its first entry. */
export function runText(run: WireRun, now: number, colors: Colors): string {
  const rows: [string, string][] = [
    ['run', oneLine(run.id)],
    ['service', oneLine(run.service)],
    ['state', stateText(colors, run.state) + (run.attempt > 1 ? ` (attempt ${run.attempt})` : '')],
    ['created', agoText(run.createdAt, now)],
  ];
  const duration = runDuration(run, now);
  if (duration !== undefined) rows.push(['took', durationText(duration)]);
  if (run.source !== undefined) rows.push(['source', oneLine(run.source)]);
  if (run.retryOf !== undefined) rows.push(['retry of', oneLine(run.retryOf)]);
  if (run.input !== undefined) rows.push(['input', objectText(run.input)]);
  for (const [index, output] of run.outputs.entries())
    rows.push([index === 0 ? 'output' : '', objectText(output)]);
  if (run.outputsOmitted > 0) rows.push(['', `… and ${run.outputsOmitted} more`]);
  if (run.exitCode !== undefined) rows.push(['exit code', String(run.exitCode)]);
  if (run.failure !== undefined) {
    rows.push(['failure', colors.red(`${oneLine(run.failure.code)}: ${firstLine(run.failure.message)}`)]);
  }
  if (run.traceId !== undefined) rows.push(['trace', oneLine(run.traceId)]);
  const head = rows.map(([name, value]) => `${colors.dim(name.padEnd(9))}  ${value}`);
  return [...head, '', ...timelineLines(run, colors)].join('\n');
}

function timelineLines(run: WireRun, colors: Colors): string[] {
  const start = run.timeline[0]?.at ?? Number.NaN;
  const hasAttempts = run.timeline.some(({ attempt }) => attempt > 1);
  return run.timeline.map((entry) => {
    const time = `+${durationText(entry.at - start)}`.padStart(9);
    const attempt = hasAttempts ? `  #${entry.attempt}` : '';
    const pad = ' '.repeat(Math.max(0, 10 - entry.state.length));
    const message = entry.message === undefined ? '' : `  ${firstLine(entry.message)}`;
    return `${colors.dim(time)}${attempt}  ${stateText(colors, oneLine(entry.state))}${message === '' ? '' : pad}${message}`;
  });
}
