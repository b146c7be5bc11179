import { textIn } from '../api/wire.ts';
import { connect, createLocalContext, type Context, type LocalContext } from '../context.ts';
import { exitCodes, type ExitCode } from '../exit-codes.ts';
import { configFileOf, readConfig } from '../profiles/config.ts';

/** Longer than that nobody waits for the Tab key. */
const patienceMs = 2000;
/** Of runs and of builds. */
const runCount = 50;

/** Names for a shell, a line each. Says nothing of failures: it is called in the middle of somebody's line. */
export async function complete(local: LocalContext, kind: string): Promise<ExitCode> {
  const signal = AbortSignal.any([local.signal, AbortSignal.timeout(patienceMs)]);
  const quiet = { ...local.io, err: () => Promise.resolve() };
  const hurried = createLocalContext({ ...local, io: quiet, signal }, local.options);
  local.onClose(hurried.close);
  try {
    const names = await namesOf(hurried, kind);
    // Names that a shell would take apart are left out.
    await local.io.out(
      names
        .filter((name) => /^[\w./:@%+=,-]+$/.test(name))
        .map((name) => `${name}\n`)
        .join(''),
    );
  } catch {
    local.signal.throwIfAborted();
  }
  return exitCodes.ok;
}

async function namesOf(local: LocalContext, kind: string): Promise<readonly string[]> {
  if (kind === 'profiles') return [...(await readConfig(configFileOf(local.env))).profiles.keys()];
  const context = await connect(local);
  switch (kind) {
    case 'services':
      return (await context.api.services()).flatMap((service) => textIn(service, 'name') ?? []);
    case 'runs':
      return (await context.api.runs({}, runCount)).items.map(({ id }) => id);
    case 'builds':
      return (await context.api.builds({ limit: runCount })).items.map(({ id }) => id);
    case 'images':
      return (await context.api.images()).map(({ tag }) => tag);
    case 'buckets':
      return await bucketNames(context);
    default:
      return [];
  }
}

async function bucketNames({ api }: Context): Promise<readonly string[]> {
  const buckets = await api.buckets();
  return buckets.flatMap((bucket) => {
    const name = textIn(bucket, 'bucket_name') ?? textIn(bucket, 'bucket_path') ?? textIn(bucket, 'name');
    return name === undefined ? [] : [`${name}/`];
  });
}
