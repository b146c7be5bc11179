import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { cpus, loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { openBuilderWorld, python, type Builder, type BuilderWorld } from '../e2e/support/builder-world.ts';
import { needed } from '../e2e/support/distributed.ts';
import { createFigures, type Figures } from './distributed/figures.ts';

export interface BuilderBenchOptions {
  readonly repeat: number;
  readonly write: (text: string) => void;
}

const base = 'python:3.11-slim';
/** What a small service needs; each round has another set, so that nobody has seen it before. */
const packages = ['flask==3.0.3', 'requests==2.32.3', 'jinja2==3.1.4'];
const added = 'six==1.16.0';
const same = 50;
const fair = { users: 5, builds: 4 } as const;

/**
 * Builds through the builder beside the same by `buildctl` alone: cold, asked again, and with one requirement more. Each round has a user of its own, whose caches are
 * empty; base image and package index are as warm for the one as for the other.
 */
export async function benchBuilder({ repeat, write }: BuilderBenchOptions): Promise<void> {
  const figures = createFigures();
  const env = {
    SLUICE_BUILD_CONCURRENCY: '2',
    SLUICE_BUILD_USER_CONCURRENCY: '2',
    SLUICE_BUILD_CACHE: 'true',
  };
  const world = await openBuilderWorld(env, repeat + fair.users);
  try {
    write(
      `builder, ${repeat} rounds, ${cpus().length} cores (${cpus()[0]?.model ?? 'unknown CPU'}), load ${load()}\n\n`,
    );
    for (const user of world.others.slice(0, repeat)) {
      await round(world, user, figures);
      process.stderr.write(`a round is done (load ${load()})\n`);
    }
    await identicalAtOnce(world, figures);
    await inTurn(world, world.others.slice(repeat), figures);
    write(figures.table());
    write(`\nload ${load()}\n`);
  } finally {
    await world.close();
  }
}

async function round(world: BuilderWorld, user: Builder, figures: Figures): Promise<void> {
  // Part of the file, and nothing to a package manager.
  const mark = `# ${randomBytes(6).toString('hex')}`;
  const first = [mark, ...packages, ''].join('\n');
  const more = [mark, ...packages, added, ''].join('\n');
  const bare = await bareBuilder(world.registry, `${user.login}bare`);
  try {
    const coldBare = await bare.build(first, '--no-cache');
    const cold = await timeOf(user, 'cold', first);
    const againBare = await bare.build(first);
    const again = await timeOf(user, 'again', first);
    const moreBare = await bare.build(more);
    const plus = await timeOf(user, 'more', more);
    figures.note('cold, buildctl alone', 'ms', coldBare, 0);
    figures.note('cold', 'ms', cold, 0);
    figures.note('  ratio of the two', '', cold / coldBare, 2);
    figures.note('the same again, buildctl alone', 'ms', againBare, 0);
    figures.note('the same again', 'ms', again, 0);
    figures.note('  the same again, of the cold time', '%', (again / cold) * 100, 2);
    figures.note('one requirement more, buildctl alone', 'ms', moreBare, 0);
    figures.note('one requirement more', 'ms', plus, 0);
    figures.note('  one more, of the cold time', '%', (plus / cold) * 100, 0);
  } finally {
    await bare.close();
  }
}

/** From the request to the end of its ticket, as its user sees it. */
async function timeOf(user: Builder, tag: string, file: string): Promise<number> {
  const started = performance.now();
  const id = await user.started(python(user, tag, file));
  await succeeded(user, id);
  return performance.now() - started;
}

async function succeeded(user: Builder, id: string): Promise<void> {
  const seen = await user.ended(id);
  if (seen.state !== 'succeeded') throw new Error(`the build ${id} ${seen.state}: ${seen.message ?? ''}`);
}

async function identicalAtOnce({ anna }: BuilderWorld, figures: Figures): Promise<void> {
  const file = `# ${randomBytes(6).toString('hex')}\n${added}\n`;
  const started = performance.now();
  const ids = await Promise.all(
    Array.from({ length: same }, async (_, at) => anna.started(python(anna, `same-${at}`, file))),
  );
  figures.note(`${same} identical requests taken`, 'ms', performance.now() - started, 0);
  await Promise.all(ids.map(async (id) => succeeded(anna, id)));
  const views = await Promise.all(ids.map(async (id) => anna.view(id)));
  const builds = new Set(views.filter(({ reused }) => !reused).map(({ build }) => build));
  figures.note('  builds that were made', '', builds.size, 0);
  figures.note('  until all have their image', 'ms', performance.now() - started, 0);
}

/** While others have all workers, users ask for all of theirs, one user after the other; who asked last waits no longer than who asked first. */
async function inTurn(
  { anna, otto }: BuilderWorld,
  users: readonly Builder[],
  figures: Figures,
): Promise<void> {
  const before = await Promise.all(
    [anna, otto].map(async (user) => {
      const file = `# ${randomBytes(6).toString('hex')}\n${packages.join('\n')}\n`;
      return { user, id: await user.started(python(user, 'before', file)) };
    }),
  );
  const order: number[] = [];
  const waits: Promise<void>[] = [];
  for (const [at, user] of users.entries()) {
    for (let build = 0; build < fair.builds; build += 1) {
      const file = `# ${randomBytes(6).toString('hex')}\n${added}\n`;
      const id = await user.started(python(user, `turn-${build}`, file));
      waits.push(succeeded(user, id).then(() => void order.push(at)));
    }
  }
  await Promise.all([...waits, ...before.map(async ({ user, id }) => succeeded(user, id))]);
  // How many of the first half to end belong to each user: with turns it is the same for all.
  const firstHalf = order.slice(0, order.length / 2);
  const shares = users.map((_, at) => firstHalf.filter((one) => one === at).length);
  figures.note(
    `${order.length} builds of ${users.length} users: fewest of one user in the first half`,
    '',
    Math.min(...shares),
    0,
  );
  figures.note('  most of one user in the first half', '', Math.max(...shares), 0);
}

interface BareBuilder {
  /** Milliseconds until the image is pushed. */
  build(file: string, ...more: readonly string[]): Promise<number>;
  close(): Promise<void>;
}

/** What somebody would write who has BuildKit and nothing else. */
async function bareBuilder(registry: string, repository: string): Promise<BareBuilder> {
  const folder = await mkdtemp(join(tmpdir(), 'sluice-bench-'));
  const dockerfile = [
    `FROM ${base}`,
    'COPY requirements.txt /tmp/requirements.txt',
    'RUN pip install --no-cache-dir -r /tmp/requirements.txt',
    '',
  ].join('\n');
  await writeFile(join(folder, 'Dockerfile'), dockerfile);
  return {
    build: async (file, ...more) => {
      await writeFile(join(folder, 'requirements.txt'), file);
      const started = performance.now();
      const output = `type=image,name=${registry}/${repository}:bare,push=true`;
      const args = [
        '--addr',
        needed('BUILDKIT_HOST'),
        'build',
        '--frontend',
        'dockerfile.v0',
        '--progress',
        'plain',
      ];
      const local = ['--local', `context=${folder}`, '--local', `dockerfile=${folder}`, '--output', output];
      const child = spawn('buildctl', [...args, ...local, ...more], { stdio: ['ignore', 'ignore', 'pipe'] });
      const said: Buffer[] = [];
      child.stderr.on('data', (chunk: Buffer) => said.push(chunk));
      await once(child, 'close');
      if (child.exitCode !== 0) throw new Error(Buffer.concat(said).toString().slice(-2000));
      return performance.now() - started;
    },
    close: () => rm(folder, { recursive: true, force: true }),
  };
}

function load(): string {
  return (loadavg()[0] ?? 0).toFixed(1);
}
