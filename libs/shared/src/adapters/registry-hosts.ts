import { isIPv4, isIPv6 } from 'node:net';

/** Docker Hub answers the API under another name than its images have. */
const hubApi = 'registry-1.docker.io';
/** Names that only mean something inside a network. */
const innerNames = /(?:^|\.)(?:localhost|local|internal|svc|svc\.cluster\.local|lan|home\.arpa)$/;

/** Host and port of a registry's API. */
export function apiHost(registry: string): string {
  return registry === 'docker.io' ? hubApi : registry;
}

/**
 * Whether a host (`name`, `name:port`, `[::1]:port`) is this machine's or of a private network, as far as its name says: names are not
 * looked up, since what they stand for may change between the look and the request.
 */
export function isPrivateHost(host: string): boolean {
  const name = hostName(host);
  if (isIPv4(name)) return isPrivateV4(name) || isLinkLocal(host);
  if (isIPv6(name)) return isPrivateV6(name) || isLinkLocal(host);
  return !name.includes('.') || innerNames.test(name);
}

/** Addresses under which clouds tell machines their secrets: never a registry. */
export function isLinkLocal(host: string): boolean {
  const name = hostName(host);
  return isIPv4(name) ? name.startsWith('169.254.') : isIPv6(name) && /^fe[89ab]/.test(name);
}

/**
 * Whether a registry may be spoken to without TLS where it has none.
 * @param insecure hosts (`name` for all ports, `name:port`) that the administrator named
 */
export function mayBePlain(host: string, insecure: readonly string[]): boolean {
  if (insecure.includes(host) || insecure.includes(hostName(host))) return true;
  return isPrivateHost(host) && !isLinkLocal(host);
}

/** As a request would spell it: `127.1`, `0x7f.0.0.1` and `2130706433` are addresses, too. */
function hostName(host: string): string {
  const name = URL.parse(`https://${host}`)?.hostname ?? host.replace(/:\d*$/, '').toLowerCase();
  const bare = name.startsWith('[') ? name.slice(1, -1) : name.replace(/\.$/, '');
  const [, high, low] = /^::ffff:([\da-f]{1,4}):([\da-f]{1,4})$/.exec(bare) ?? [];
  if (high === undefined || low === undefined) return bare;
  const bytes = [high, low]
    .map((half) => Number.parseInt(half, 16))
    .flatMap((half) => [half >> 8, half & 255]);
  return bytes.join('.');
}

function isPrivateV4(address: string): boolean {
  const [a = 0, b = 0] = address.split('.').map(Number);
  // What is in 0.0.0.0/8 leads to this machine.
  if (a === 0 || a === 10 || a === 127) return true;
  return (a === 172 && b >= 16 && b < 32) || (a === 192 && b === 168);
}

function isPrivateV6(address: string): boolean {
  return address === '::1' || address === '::' || /^f[cd]/.test(address);
}
