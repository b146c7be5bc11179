import type { WireBuild } from '../api/build-wire.ts';
import type { LocalContext } from '../context.ts';
import { stateText, type Colors } from '../format/colors.ts';
import { durationText } from '../format/quantity.ts';
import { oneLine, shorten } from '../format/text.ts';
import { buildDuration, progressText } from './describe.ts';

/** How builds are shown while they are waited for. */
export interface BuildView {
  /** How a build is now. @param name what it is for; empty where there is only one */
  show(name: string, build: WireBuild): Promise<void>;
  /** What it printed since the last time. Only a view with a tail shows it. */
  printed(lines: readonly string[]): Promise<void>;
  /** A line that stays. */
  note(text: string): Promise<void>;
  stop(): Promise<void>;
}

export interface ViewContext {
  readonly io: Pick<LocalContext['io'], 'err' | 'errIsTty'>;
  /** Not undefined: for programs. */
  readonly json: object | undefined;
  readonly errColors: Colors;
  now(): number;
}

/** On a terminal lines that change in their place, elsewhere a line for each step; nothing with `--json`. @param tail lines of the log */
export function createBuildView(context: ViewContext, tail = 0): BuildView {
  if (context.json !== undefined) return silentView();
  return context.io.errIsTty ? blockView(context, tail) : plainView(context);
}

const nothing = (): Promise<void> => Promise.resolve();

function silentView(): BuildView {
  return { show: nothing, printed: nothing, note: nothing, stop: nothing };
}

function plainView({ io }: ViewContext): BuildView {
  const seen = new Map<string, string>();
  return {
    show: async (name, build) => {
      const line = [oneLine(build.state), progressText(build)].filter(Boolean).join('  ');
      if (seen.get(name) === line) return;
      seen.set(name, line);
      await io.err(`${name === '' ? '' : `${oneLine(name)}: `}${line}\n`);
    },
    printed: nothing,
    note: (text) => io.err(`${text}\n`),
    stop: nothing,
  };
}

/** More rows than that would scroll, and could not be drawn over. */
const maxRows = 12;
const maxWidth = 200;

function blockView(context: ViewContext, tail: number): BuildView {
  const rows = new Map<string, WireBuild>();
  let printed: string[] = [];
  let height = 0;
  const draw = async (above = ''): Promise<void> => {
    const lines = linesOf(context, rows, printed);
    const up = height === 0 ? '' : `\u001B[${height}A`;
    const block = lines.map((line) => `${line}\n`).join('');
    height = lines.length;
    // Without the terminal's own line breaks a line is a row, however wide its letters are.
    await context.io.err(`\u001B[?7l${up}\r\u001B[J${above}${block}\u001B[?7h`);
  };
  return {
    show: async (name, build) => {
      rows.set(name, build);
      await draw();
    },
    printed: async (lines) => {
      if (tail === 0 || lines.length === 0) return;
      printed = [...printed, ...lines].slice(-tail);
      await draw();
    },
    note: (text) => draw(`${text}\n`),
    stop: async () => {
      rows.clear();
      printed = [];
      if (height > 0) await draw();
    },
  };
}

function linesOf(
  context: ViewContext,
  rows: ReadonlyMap<string, WireBuild>,
  printed: readonly string[],
): string[] {
  const colors = context.errColors;
  const width = Math.max(0, ...[...rows.keys()].map((name) => oneLine(name).length));
  // Those that are under way first: the others are not what is waited for.
  const sorted = [...rows].toSorted(([, a], [, b]) => Number(isRunning(b)) - Number(isRunning(a)));
  const lines = sorted.slice(0, maxRows).map(([name, build]) => {
    const label = width === 0 ? '' : `${oneLine(name).padEnd(width)}  `;
    return label + rowText(build, context.now(), colors);
  });
  if (rows.size > maxRows) lines.push(colors.dim(`… and ${rows.size - maxRows} more`));
  return [...lines, ...printed.map((line) => colors.dim(`  | ${shorten(oneLine(line), maxWidth)}`))];
}

function isRunning({ state }: WireBuild): boolean {
  return state === 'running';
}

function rowText(build: WireBuild, now: number, colors: Colors): string {
  const took = buildDuration(build, now);
  const time = took === undefined ? '' : `  ${durationText(took)}`;
  const text = shorten(progressText(build), maxWidth);
  return `${stateText(colors, oneLine(build.state))}${time}${text === '' ? '' : `  ${text}`}`;
}
