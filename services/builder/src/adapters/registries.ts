import type { RegistryLogin, RegistryLogins } from '@sluice/shared/adapters';
import { ownRegistryHost, ownRegistryLogin } from '../domain/registry-host.ts';
import type { ImageRegistry, Registries } from '../ports.ts';

export interface RegistriesOptions {
  /** The installation's registry, as images are pushed. */
  readonly host: string;
  /** The same as clusters pull. */
  readonly pullHost: string;
  readonly login: { readonly username: string; readonly password: string } | undefined;
  /** Opens a client that shows these logins. */
  readonly open: (logins: RegistryLogins) => ImageRegistry;
}

interface Credentials {
  readonly username: string;
  readonly password: string;
}

/** Clients for registries of accounts that are kept open. */
const maxClients = 100;

/** The installation's registry, and those that accounts name (`REGISTRY_HOST`, `REGISTRY_SECRET`; builder §2.3, §2.4): a login goes to the registry that it is for, and to no other. */
export function createRegistries({ host, pullHost, login, open }: RegistriesOptions): Registries {
  const common: Readonly<Record<string, Credentials>> = login === undefined ? {} : { [host]: login };
  const shared = open(loginsOf(common));
  const clients = new Map<string, ImageRegistry>();
  const ownClient = (own: string, secret: Credentials | undefined): ImageRegistry => {
    const key = JSON.stringify([own, secret]);
    let client = clients.get(key);
    if (client === undefined) {
      const [oldest] = clients.keys();
      if (clients.size >= maxClients && oldest !== undefined) clients.delete(oldest);
      client = open(loginsOf({ ...common, ...(secret === undefined ? {} : { [own]: secret }) }));
      clients.set(key, client);
    }
    return client;
  };
  return {
    of: ({ login: user, env }) => {
      const own = ownRegistryHost(env);
      if (own === undefined || own === host) {
        return { repository: `${host}/${user}`, pullRepository: `${pullHost}/${user}`, images: shared };
      }
      const repository = `${own}/${user}`;
      return { repository, pullRepository: repository, images: ownClient(own, ownRegistryLogin(env)) };
    },
    logins: async ({ env }, hosts) => {
      const own = ownRegistryHost(env);
      const secret = ownRegistryLogin(env);
      const known = { ...common, ...(own === undefined || secret === undefined ? {} : { [own]: secret }) };
      return Object.fromEntries(
        hosts.flatMap((one) => {
          const found = known[one];
          return found === undefined ? [] : [[one, found] as const];
        }),
      );
    },
  };
}

function loginsOf(known: Readonly<Record<string, Credentials>>): RegistryLogins {
  return async (registry): Promise<RegistryLogin | undefined> => {
    const found = known[registry];
    return found === undefined ? undefined : { ...found, serveraddress: registry };
  };
}
