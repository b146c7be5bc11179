import { parseImage, type ImageReference } from '@sluice/shared/contracts';
import { AppError } from '@sluice/shared/errors';
import type { BuildPlan } from '../ports.ts';

/**
 * The time of everything in an image, so that the same inputs give the same digest: 2020-01-01. It is the image's `created` as well, which
 * therefore tells nothing of its age. Not 1970: ZIP files know no time before 1980, and Python's tools refuse it.
 */
export const imageEpochSeconds = 1_577_836_800;

/** Where `buildctl` finds and leaves its files. */
export interface BuildPlaces {
  readonly context: string;
  readonly dockerfile: string;
  readonly metadata: string;
}

/** How the daemon is reached. */
export interface DaemonAddress {
  /** `tcp://buildkitd:1234`, `unix:///run/buildkit/buildkitd.sock` */
  readonly host: string;
  /** Files with certificates (PEM). */
  readonly ca?: string | undefined;
  readonly cert?: string | undefined;
  readonly key?: string | undefined;
  /** Name in the daemon's certificate, where it is not the host's. */
  readonly serverName?: string | undefined;
}

/** Arguments before the command. */
export function daemonArguments(daemon: DaemonAddress): readonly string[] {
  return [
    '--addr',
    daemon.host,
    ...(daemon.serverName === undefined ? [] : ['--tlsservername', daemon.serverName]),
    ...(daemon.ca === undefined ? [] : ['--tlscacert', daemon.ca]),
    ...(daemon.cert === undefined ? [] : ['--tlscert', daemon.cert]),
    ...(daemon.key === undefined ? [] : ['--tlskey', daemon.key]),
  ];
}

/**
 * Arguments of `buildctl build`. Some of their values are CSV, where a comma begins another attribute (another image to push to): everything is
 * validated here once more, whatever was done before.
 * @param insecure registries (`host`, `host:port`) that are spoken to without TLS
 * @throws AppError `invalid_input`
 */
export function buildArguments(
  plan: BuildPlan,
  places: BuildPlaces,
  insecure: readonly string[],
): readonly string[] {
  checkPlan(plan);
  const push = checkReference('push', plan.push, 'tagged');
  const outputs = [
    'type=image',
    `name=${plan.push}`,
    'push=true',
    'rewrite-timestamp=true',
    'oci-mediatypes=true',
  ];
  const options: Record<string, string> = {
    'build-arg:SOURCE_DATE_EPOCH': String(imageEpochSeconds),
    // Cache mounts of one user are another's poison.
    'build-arg:BUILDKIT_CACHE_MOUNT_NS': plan.user,
    ...Object.fromEntries(Object.entries(plan.labels).map(([name, value]) => [`label:${name}`, value])),
    ...(plan.platforms.length === 0 ? {} : { platform: plan.platforms.join(',') }),
    ...(plan.sbom ? { 'attest:sbom': '' } : {}),
    ...(plan.provenance ? { 'attest:provenance': 'mode=max' } : {}),
  };
  const output = [...outputs, ...plainHttp(push, insecure)].join(',');
  return [
    'build',
    '--progress=rawjson',
    '--frontend=dockerfile.v0',
    `--local=context=${places.context}`,
    `--local=dockerfile=${places.dockerfile}`,
    ...Object.entries(options).map(([name, value]) => `--opt=${name}=${value}`),
    ...(plan.force ? ['--no-cache'] : []),
    `--output=${output}`,
    ...cacheArguments(plan, insecure),
    `--metadata-file=${places.metadata}`,
  ];
}

function cacheArguments(plan: BuildPlan, insecure: readonly string[]): readonly string[] {
  const place = (field: string, reference: string): readonly string[] => {
    const image = checkReference(field, reference, 'any');
    return ['type=registry', `ref=${reference}`, ...plainHttp(image, insecure)];
  };
  const reads = plan.force ? [] : [...(plan.cache === undefined ? [] : [plan.cache]), ...plan.sharedCaches];
  const imports = reads.map((reference) => `--import-cache=${place('cache', reference).join(',')}`);
  if (plan.cache === undefined) return imports;
  // The image is what counts: a cache that cannot be written costs the next build time, nothing else.
  const attributes = [...place('cache', plan.cache), 'mode=max', 'ignore-error=true'];
  return [...imports, `--export-cache=${attributes.join(',')}`];
}

function plainHttp(image: ImageReference, insecure: readonly string[]): readonly string[] {
  const bare = image.registry.replace(/:\d+$/, '');
  const isPlain = insecure.includes(image.registry) || insecure.includes(bare);
  return isPlain ? ['registry.insecure=true'] : [];
}

/** Stricter than a reference has to be: nothing that CSV or the attributes of an exporter give a meaning. */
const plainReference = /^[\w.:/@[\]-]+$/;
const platformForm = /^[a-z0-9]{1,20}\/[a-z0-9_]{1,20}(?:\/[a-z0-9]{1,20})?$/;
const labelForm = /^[A-Za-z0-9][A-Za-z0-9._/-]{0,127}$/;
const userForm = /^[a-z0-9][a-z0-9._-]{0,127}$/;
// oxlint-disable-next-line no-control-regex -- they are what is refused
const controlCharacter = /[\u0000-\u001f\u007f]/;
const maxLabelValue = 4096;

function checkReference(field: string, reference: string, form: 'tagged' | 'any'): ImageReference {
  const image = plainReference.test(reference) ? parseImage(reference) : undefined;
  if (image === undefined || (form === 'tagged' && (image.tag === undefined || image.digest !== undefined))) {
    throw wrong(
      field,
      `${JSON.stringify(reference.slice(0, 200))} is not the name of an image that can be pushed`,
    );
  }
  return image;
}

function checkPlan(plan: BuildPlan): void {
  if (!userForm.test(plan.user)) throw wrong('user', 'it is not the name of a user');
  const platform = plan.platforms.find((one) => !platformForm.test(one));
  if (platform !== undefined)
    throw wrong('platforms', `${JSON.stringify(platform.slice(0, 100))} is no platform`);
  for (const [name, value] of Object.entries(plan.labels)) {
    if (!labelForm.test(name) || controlCharacter.test(value) || value.length > maxLabelValue) {
      throw wrong('labels', `the label ${JSON.stringify(name.slice(0, 100))} cannot be written`);
    }
  }
}

function wrong(field: string, why: string): AppError {
  return new AppError('invalid_input', `This build cannot be given to BuildKit: ${why}.`, { field });
}
