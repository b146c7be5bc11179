import {
  boolean,
  integer,
  secret,
  text,
  type ConfigFault,
  type ConfigOf,
  type Secret,
  type Variable,
} from '@sluice/shared/config';
import { isBuildKind, parseImage, parseImagePrefix, type ImagePrefix } from '@sluice/shared/contracts';
import type { CatalogueEntry } from './app/requests.ts';
import type { BuilderConfig } from './builder.ts';
import type { RequestRules } from './domain/request.ts';
import type { BuildLimits } from './ports.ts';

/** A registry's host, with its port where it has one. */
function registryHost(spec: { why: string }): Variable<string> {
  return {
    why: spec.why,
    form: 'a host with or without a port: registry.example.org:5000',
    fallback: { value: '' },
    parse: (value) => {
      const parsed = parseImagePrefix(value.trim());
      if (parsed === undefined || parsed.repository.length > 0)
        throw new Error(`"${value}" is not a host with or without a port (and without http://)`);
      return parsed.registry;
    },
  };
}

function commaList<T>(spec: {
  why: string;
  form: string;
  parse: (one: string) => T | undefined;
}): Variable<readonly T[]> {
  return {
    why: spec.why,
    form: spec.form,
    fallback: { value: [] },
    parse: (value) =>
      value
        .split(',')
        .map((one) => one.trim())
        .filter((one) => one !== '')
        .map((one) => {
          const parsed = spec.parse(one);
          if (parsed === undefined) throw new Error(`"${one}" is not ${spec.form}`);
          return parsed;
        }),
  };
}

/** `docker.io=127.0.0.1:5000`: whom to ask for what a registry has. */
function mirror(one: string): readonly [string, string] | undefined {
  const [of = '', by = '', ...more] = one.split('=');
  const [origin, place] = [parseImagePrefix(of), parseImagePrefix(by)];
  if (origin === undefined || place === undefined || more.length > 0) return undefined;
  if (place.repository.length > 0) return undefined;
  const registry = of === 'docker.io' || origin.repository.length === 0 ? origin.registry : undefined;
  return registry === undefined ? undefined : [registry, place.registry];
}

const catalogueId = /^[a-z0-9][a-z0-9._:-]{0,62}$/;

/** The builders of `/build/ensure` (builder §1.6). */
const catalogue: Variable<readonly CatalogueEntry[]> = {
  why: 'Base images that `/build/ensure` knows by name: JSON, {"python:3.12": {"kind": "python", "source": "image:tag"}}.',
  form: 'a JSON object of {kind, source} by name',
  fallback: { value: [] },
  parse: (value) => {
    const parsed: unknown = JSON.parse(value);
    if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed))
      throw new Error('it is not a JSON object');
    return Object.entries(parsed as Record<string, { kind?: unknown; source?: unknown } | null>).map(
      ([id, entry]) => {
        const { kind, source } = entry ?? {};
        if (!catalogueId.test(id))
          throw new Error(`the name "${id}" is not of the form a-z, 0-9, ".", "_", ":", "-"`);
        if (typeof kind !== 'string' || !isBuildKind(kind)) throw new Error(`"${id}" has an unknown kind`);
        if (typeof source !== 'string' || parseImage(source) === undefined)
          throw new Error(`"${id}" has a source that is not the name of an image`);
        return { id, kind, source };
      },
    );
  },
};

/** Variables of whoever takes requests for images: the api. */
export const buildDeskVariables = {
  REGISTRY_HOST: registryHost({
    why: 'Registry that built images are pushed to, one repository for each user; without it there is no builder.',
  }),
  SLUICE_REGISTRY_PULL_HOST: registryHost({
    why: 'The same registry as nodes of the cluster reach it, where that is another address.',
  }),
  SLUICE_REGISTRY_USER: text({ why: 'Name at that registry.', fallback: '' }),
  SLUICE_REGISTRY_PASSWORD: secret<Secret | undefined>({
    why: 'Password of SLUICE_REGISTRY_USER.',
    fallback: undefined,
  }),
  SLUICE_REGISTRY_CA: text({
    why: 'Certificates (PEM) that are trusted for registries beside the well-known ones.',
    fallback: '',
  }),
  SLUICE_REGISTRY_INSECURE: commaList({
    why: 'Registries that are spoken to without TLS, beside those of this machine and of private networks; BuildKit has a list of its own.',
    form: 'hosts separated by commas',
    parse: (one) => parseImagePrefix(one)?.registry,
  }),
  SLUICE_REGISTRY_MIRRORS: commaList({
    why: 'Registries that are asked in place of others, for base images: docker.io=mirror.example.org:5000. BuildKit has a list of its own.',
    form: 'pairs such as docker.io=mirror.example.org:5000, separated by commas',
    parse: mirror,
  }),
  SLUICE_BUILD_BASES: commaList<ImagePrefix>({
    why: 'Registries and repositories that base images may come from, separated by commas; empty: all, but for those of other users and, unless SLUICE_REGISTRY_INSECURE names them, those of private networks.',
    form: 'registries or repositories separated by commas: docker.io/library, ghcr.io/team',
    parse: parseImagePrefix,
  }),
  SLUICE_BUILDERS: catalogue,
  SLUICE_BUILD_MAVEN_IMAGE: text({
    why: "Image with Maven in /usr/share/maven, such as Maven's own: java images are then built on bases without it.",
    fallback: '',
  }),
  SLUICE_BUILD_FILE_LIMIT: integer({
    why: 'Bytes of a requirements file.',
    min: 1024,
    max: 5_000_000,
    fallback: 5_000_000,
  }),
  SLUICE_BUILD_QUEUE: integer({
    why: 'Builds that may wait or run at once; past it requests are answered with 429.',
    min: 1,
    max: 100_000,
    fallback: 500,
  }),
  SLUICE_BUILD_USER_QUEUE: integer({
    why: 'Of those, builds of one user.',
    min: 1,
    max: 100_000,
    fallback: 50,
  }),
  SLUICE_BUILD_USER_CONCURRENCY: integer({
    why: 'Builds of one user that run at once.',
    min: 1,
    max: 1000,
    fallback: 2,
  }),
  SLUICE_BUILD_ATTEMPTS: integer({
    why: 'Tries of a build whose cause of failure may pass (a registry that is away).',
    min: 1,
    max: 20,
    fallback: 5,
  }),
  SLUICE_BUILD_LOG_LIMIT: integer({
    why: 'Bytes that are kept of what one build prints, beside its last lines.',
    min: 1024,
    max: 1_073_741_824,
    fallback: 5_242_880,
  }),
};

/** Variables of what makes images. */
export const builderVariables = {
  BUILDKIT_HOST: text({
    why: 'Address of the BuildKit daemon: tcp://host:1234 or unix:///run/buildkit/buildkitd.sock; without it no image is built.',
    fallback: '',
  }),
  BUILDKIT_CA: text({ why: 'Certificate (PEM) that the daemon is known by.', fallback: '' }),
  BUILDKIT_CERT: text({
    why: 'Certificate (PEM) that is shown to the daemon, with BUILDKIT_KEY.',
    fallback: '',
  }),
  BUILDKIT_KEY: secret<Secret | undefined>({ why: 'Key (PEM) of BUILDKIT_CERT.', fallback: undefined }),
  SLUICE_BUILD_CONCURRENCY: integer({
    why: 'Builds that one process has under way at once.',
    min: 1,
    max: 100,
    fallback: 2,
  }),
  SLUICE_BUILD_TIMEOUT: integer({
    why: 'Seconds that one build may take.',
    min: 10,
    max: 86_400,
    fallback: 1800,
  }),
  SLUICE_BUILD_WAIT: integer({
    why: 'Seconds that a build may wait before it expires.',
    min: 60,
    max: 604_800,
    fallback: 86_400,
  }),
  SLUICE_BUILD_RETENTION: integer({
    why: 'Seconds that ended requests and their logs are kept.',
    min: 60,
    max: 31_536_000,
    fallback: 2_592_000,
  }),
  SLUICE_BUILD_CACHE: boolean({
    why: 'Whether layers of builds are kept in the registry, by user and kind, for later builds.',
    fallback: true,
  }),
};

export type BuildDeskValues = ConfigOf<typeof buildDeskVariables>;
export type BuilderValues = ConfigOf<typeof builderVariables>;

/** What of the variables does not go together. */
export function builderFaults(values: Partial<BuilderValues> & BuildDeskValues): readonly ConfigFault[] {
  const faults: ConfigFault[] = [];
  const tls = [values.BUILDKIT_CA, values.BUILDKIT_CERT, values.BUILDKIT_KEY?.reveal()];
  const given = tls.filter((one) => one !== undefined && one !== '').length;
  if (given > 0 && given < tls.length)
    faults.push({
      variable: 'BUILDKIT_CERT',
      message: 'TLS to BuildKit needs BUILDKIT_CA, BUILDKIT_CERT and BUILDKIT_KEY',
    });
  if ((values.SLUICE_REGISTRY_USER === '') !== (values.SLUICE_REGISTRY_PASSWORD === undefined))
    faults.push({ variable: 'SLUICE_REGISTRY_PASSWORD', message: 'goes together with SLUICE_REGISTRY_USER' });
  return faults;
}

/** @param isPrivate whether a host is of this machine or of a private network, as far as its name says */
export function requestRules(values: BuildDeskValues, isPrivate: (host: string) => boolean): RequestRules {
  const named = new Set([
    ...values.SLUICE_REGISTRY_INSECURE,
    ...values.SLUICE_BUILDERS.map(({ source }) => parseImage(source)?.registry),
  ]);
  return {
    bases: values.SLUICE_BUILD_BASES,
    ownRegistries: [
      ...new Set([values.REGISTRY_HOST, values.SLUICE_REGISTRY_PULL_HOST || values.REGISTRY_HOST]),
    ],
    fileBytes: values.SLUICE_BUILD_FILE_LIMIT,
    isInner: (registry) => isPrivate(registry) && !named.has(registry),
  };
}

export function buildLimits(values: BuildDeskValues): BuildLimits {
  return {
    totalOpen: values.SLUICE_BUILD_QUEUE,
    userOpen: values.SLUICE_BUILD_USER_QUEUE,
    userRunning: values.SLUICE_BUILD_USER_CONCURRENCY,
  };
}

export function builderConfig(values: BuilderValues, graceMs: number): BuilderConfig {
  return {
    timeoutMs: values.SLUICE_BUILD_TIMEOUT * 1000,
    waitMs: values.SLUICE_BUILD_WAIT * 1000,
    retentionMs: values.SLUICE_BUILD_RETENTION * 1000,
    layerCache: values.SLUICE_BUILD_CACHE,
    graceMs,
  };
}
