import type { WireBuild, WireImage } from '../api/build-wire.ts';
import { stateText, type Colors } from '../format/colors.ts';
import { agoText, bytesText, durationText } from '../format/quantity.ts';
import { oneLine } from '../format/text.ts';

/** The image by tag and digest, as a service names it: what it is stays so, whatever becomes of the tag. */
export function pinned({ image, digest }: { readonly image: string; readonly digest: string }): string {
  return `${image}@${digest}`;
}

/** `3/8  [2/3] RUN pip install …`, or what a build waits for. */
export function progressText(build: WireBuild): string {
  const { progress, message } = build;
  if (progress === undefined) return oneLine(message ?? '');
  const count = progress.total > 0 ? `${progress.done}/${progress.total}` : '';
  return [count, oneLine(progress.step ?? message ?? '')].filter(Boolean).join('  ');
}

/** Why a build made no image, in a line. */
export function buildFailureText({ state, code, message }: WireBuild): string {
  const first = oneLine((message ?? '').split('\n', 1)[0] ?? '');
  if (first === '') return oneLine(code ?? state);
  return code === undefined ? first : `${oneLine(code)}: ${first}`;
}

/** How long a build took, or has taken. */
export function buildDuration(build: WireBuild, now: number): number | undefined {
  return build.startedAt === undefined ? undefined : (build.endedAt ?? now) - build.startedAt;
}

export function buildText(build: WireBuild, now: number, colors: Colors): string {
  const optional = (name: string, value: string | undefined): [string, string][] =>
    value === undefined || value === '' ? [] : [[name, oneLine(value)]];
  const duration = buildDuration(build, now);
  const rows: [string, string][] = [
    ['build', oneLine(build.id)],
    ['state', stateText(colors, oneLine(build.state)) + (build.reused ? ' (the image was there)' : '')],
    ...optional('kind', build.kind),
    ...optional('source', build.source),
    ...optional('target', build.target),
    ...optional('image', build.image),
    ...optional('digest', build.digest),
    ...optional('size', build.size === undefined ? undefined : bytesText(build.size)),
    ['created', agoText(build.createdAt, now)],
    ...optional('took', duration === undefined ? undefined : durationText(duration)),
  ];
  if (build.state === 'succeeded') return rowsText(rows, colors);
  if (build.progress !== undefined) rows.push(['progress', progressText(build)]);
  rows.push(...optional('code', build.code), ...optional('message', build.message));
  return rowsText(rows, colors);
}

export function imageText(image: WireImage, now: number, colors: Colors): string {
  const optional = (name: string, value: string | undefined): [string, string][] =>
    value === undefined || value === '' ? [] : [[name, oneLine(value)]];
  return rowsText(
    [
      ['tag', oneLine(image.tag)],
      ['image', oneLine(image.image)],
      ['digest', oneLine(image.digest)],
      ...optional('size', image.size === undefined ? undefined : bytesText(image.size)),
      ['created', agoText(image.createdAt, now)],
      ...optional('kind', image.kind),
      ...optional('source', image.source),
      ['used by', image.usedBy.length === 0 ? '-' : oneLine(image.usedBy.join(', '))],
    ],
    colors,
  );
}

function rowsText(rows: readonly (readonly [string, string])[], colors: Colors): string {
  return rows.map(([name, value]) => `${colors.dim(name.padEnd(9))}  ${value}`).join('\n');
}
