import type { Context } from '../context.ts';
import { note } from '../say.ts';
import { bytesText, durationText } from '../format/quantity.ts';
import { plural } from '../format/text.ts';

/** How a transfer of files is shown while it goes on. */
export interface Progress {
  /** Bytes that went; negative when a file begins again. */
  bytes(count: number): void;
  /** One more file is done. The text is a line for it where there is no bar. */
  file(text: string): Promise<void>;
  /** A line about the transfer (stderr). Not with `--json`. */
  note(text: string): Promise<void>;
  /** A line of the result (stdout). */
  result(text: string): Promise<void>;
  stop(): void;
}

export interface Total {
  readonly files: number;
  readonly bytes: number;
}

/** Plain lines, or on a terminal a bar. */
export async function createProgress(context: Context, countAll: () => Promise<Total>): Promise<Progress> {
  if (context.json !== undefined || !context.io.errIsTty) return plainProgress(context);
  return await barProgress(context, await countAll());
}

function plainProgress(context: Context): Progress {
  return {
    bytes: () => undefined,
    file: (text) => note(context, text),
    note: (text) => note(context, text),
    result: (text) => context.io.out(`${text}\n`),
    stop: () => undefined,
  };
}

async function barProgress(context: Context, total: Total): Promise<Progress> {
  const { default: cliProgress } = await import('cli-progress');
  const bars = new cliProgress.MultiBar({
    stream: context.io.stderr,
    format: '{bar} {percentage}%  {done} of {all}  {files}/{of} files',
    barsize: 30,
    hideCursor: true,
    clearOnComplete: true,
    // The process's own handler ends the transfer, and with it the bar.
    gracefulExit: false,
    barCompleteChar: '█',
    barIncompleteChar: '░',
  });
  const begin = context.now();
  let done = 0;
  let files = 0;
  const fields = (): object => ({
    done: bytesText(done),
    all: bytesText(total.bytes),
    files,
    of: total.files,
  });
  // An empty bar would count as complete at once.
  const bar = bars.create(Math.max(1, total.bytes), 0, fields());
  const update = (): void => {
    bar.update(Math.min(done, total.bytes), fields());
  };
  const line = (text: string): Promise<void> => {
    bars.log(`${text}\n`);
    return Promise.resolve();
  };
  return {
    bytes: (count) => {
      done += count;
      update();
    },
    file: () => {
      files += 1;
      update();
      return Promise.resolve();
    },
    note: line,
    // On a terminal both streams are one; a redirected stdout does not disturb the bar.
    result: (text) => (context.io.outIsTty ? line(text) : context.io.out(`${text}\n`)),
    stop: () => {
      // Lines that wait for the next redraw would be lost.
      const time = durationText(context.now() - begin);
      bars.log(`${plural(files, 'file')}, ${bytesText(done)} in ${time}\n`);
      bars.update();
      bars.stop();
    },
  };
}
