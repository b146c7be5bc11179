import { parseImagePrefix } from '../contracts/index.ts';
import { AppError } from '../errors/index.ts';
import type { Clock } from '../lifecycle/index.ts';
import { createRegistryAuth, type RegistryTarget } from './registry-auth.ts';
import { registryFailure } from './registry-errors.ts';
import { apiHost } from './registry-hosts.ts';
import type { RegistryLogins } from './registry-logins.ts';
import { createRegistryTransport } from './registry-transport.ts';

export interface RegistryPushProbe {
  /**
   * Whether a push would be taken now; false for a registry that is read-only.
   * @throws AppError `forbidden`, `unavailable`
   */
  takesPushes(): Promise<boolean>;
  close(): Promise<void>;
}

export interface RegistryPushProbeDeps {
  /** Where the upload is begun: `registry:5000/probe`. Nothing of it stays. */
  readonly repository: string;
  readonly logins: RegistryLogins;
  /** Registries (`host`, `host:port`) that may be spoken to without TLS, beside this machine's and those of private networks. */
  readonly insecure?: readonly string[];
  /** Certificates (PEM) that are trusted beside the system's. */
  readonly ca?: string | undefined;
  readonly clock: Pick<Clock, 'monotonic'>;
  /** @default 5000 */
  readonly timeoutMs?: number;
}

/** Asks a registry whether it takes pushes, by beginning one (OCI Distribution, "Pushing a blob") and taking it back. */
export function createRegistryPushProbe(deps: RegistryPushProbeDeps): RegistryPushProbe {
  const target = targetOf(deps.repository);
  const transport = createRegistryTransport({ insecure: deps.insecure ?? [], ca: deps.ca });
  const ask = createRegistryAuth({ ...deps, transport });
  return {
    takesPushes: async () => {
      const signal = AbortSignal.timeout(deps.timeoutMs ?? 5000);
      const request = { headers: {}, maxBytes: 65_536, signal };
      const uploads = `/v2/${target.repository}/blobs/uploads/`;
      const answer = await ask(target, uploads, { ...request, method: 'POST' });
      // What is read-only has no such route.
      if (answer.status === 405) return false;
      if (answer.status !== 202) throw registryFailure(target, answer);
      const begun = URL.parse(answer.header('location') ?? '', `https://${target.host}${uploads}`);
      if (begun?.host === target.host && begun.pathname.startsWith(uploads)) {
        // The registry itself drops what is left of an upload, some days later.
        await ask(target, `${begun.pathname}${begun.search}`, { ...request, method: 'DELETE' }).catch(
          () => undefined,
        );
      }
      return true;
    },
    close: () => transport.close(),
  };
}

function targetOf(text: string): RegistryTarget {
  const name = parseImagePrefix(text);
  if (name === undefined || name.repository.length === 0)
    throw new AppError('invalid_input', `"${text}" names no repository of a registry.`);
  return {
    registry: name.registry,
    host: apiHost(name.registry),
    repository: name.repository.join('/'),
    actions: 'pull,push',
  };
}
