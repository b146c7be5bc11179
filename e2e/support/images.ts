import { join } from 'node:path';
import { root, run } from './server.ts';

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
  const registry = process.env['REGISTRY_HOST'] ?? '';
  const env = { BUILDKIT_HOST: process.env['BUILDKIT_HOST'] ?? '' };
  for (const example of ['word-count', 'pipeline', 'thumbnail']) {
    const context = join(root, 'examples', example);
    const image = `${registry}/sluice/example-${example}:0.1.0`;
    const output = `--output=type=image,name=${image},push=true`;
    const folders = [`--local=context=${context}`, `--local=dockerfile=${context}`];
    const done = await run('buildctl', ['build', '--frontend=dockerfile.v0', ...folders, output], { env });
    if (done.code !== 0) throw new Error(`the image ${image} cannot be built: ${done.stderr}`);
  }
}
