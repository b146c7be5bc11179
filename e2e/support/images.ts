import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { removeFolder, root, run, tempFolder } from './server.ts';

const known = new Map<string, Promise<string>>();

/** Name of an image of this checkout in the registry of the environment; built and pushed where it is not there yet. */
function imageOf(name: 'sluice' | 'supervisor'): Promise<string> {
  const built = known.get(name) ?? build(name);
  known.set(name, built);
  return built;
}

export const sluiceImage = (): Promise<string> => imageOf('sluice');
export const supervisorImage = (): Promise<string> => imageOf('supervisor');

async function build(name: string): Promise<string> {
  const env = {
    BUILDKIT_HOST: process.env['BUILDKIT_HOST'] ?? '',
    REGISTRY_HOST: process.env['REGISTRY_HOST'] ?? '',
  };
  if (env.BUILDKIT_HOST === '' || env.REGISTRY_HOST === '')
    throw new Error('BUILDKIT_HOST and REGISTRY_HOST are not set: this test builds images on a test bed');
  const done = await run(process.execPath, [join(root, 'tools/build-image.mjs'), name], { env });
  if (done.code !== 0) throw new Error(`the image ${name} cannot be built: ${done.stderr}`);
  return done.stdout.trim();
}

/**
 * Builds the images of the examples under the names that their definitions have. A name without a host is looked up in this registry: the cluster takes
 * it for a mirror.
 */
export async function pushExampleImages(): Promise<void> {
  for (const example of ['word-count', 'pipeline', 'thumbnail'])
    await pushImage(`sluice/example-${example}:0.1.0`, join(root, 'examples', example));
}

/** Builds an image of nothing but a Dockerfile. @returns its name in the registry of the environment */
export async function pushDockerfile(name: string, lines: readonly string[]): Promise<string> {
  const folder = await tempFolder();
  try {
    await writeFile(join(folder, 'Dockerfile'), `${lines.join('\n')}\n`);
    return await pushImage(name, folder);
  } finally {
    await removeFolder(folder);
  }
}

async function pushImage(name: string, context: string): Promise<string> {
  const env = { BUILDKIT_HOST: process.env['BUILDKIT_HOST'] ?? '' };
  const image = `${process.env['REGISTRY_HOST'] ?? ''}/${name}`;
  const output = `--output=type=image,name=${image},push=true`;
  const folders = [`--local=context=${context}`, `--local=dockerfile=${context}`];
  const done = await run('buildctl', ['build', '--frontend=dockerfile.v0', ...folders, output], { env });
  if (done.code !== 0) throw new Error(`the image ${image} cannot be built: ${done.stderr}`);
  return image;
}
