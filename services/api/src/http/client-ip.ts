import { BlockList, isIP } from 'node:net';
import type { FastifyRequest } from 'fastify';

/** Peers that may be a proxy of this installation: this machine and private networks. */
const near = new BlockList();
near.addSubnet('127.0.0.0', 8, 'ipv4');
near.addSubnet('10.0.0.0', 8, 'ipv4');
near.addSubnet('172.16.0.0', 12, 'ipv4');
near.addSubnet('192.168.0.0', 16, 'ipv4');
near.addSubnet('169.254.0.0', 16, 'ipv4');
near.addSubnet('100.64.0.0', 10, 'ipv4');
near.addAddress('::1', 'ipv6');
near.addSubnet('fc00::', 7, 'ipv6');
near.addSubnet('fe80::', 10, 'ipv6');

/**
 * Who calls, for logs only: nothing is decided by it. OSCAR believes what anybody sends (OSCAR §0); here the first
 * `X-Forwarded-For`, else `X-Real-Ip`, counts only from a peer that can be a proxy, and only if it is an address.
 */
export function clientIp(request: Pick<FastifyRequest, 'headers' | 'ip'>): string {
  const peer = plain(request.ip);
  if (!isNear(peer)) return peer;
  const said = [request.headers['x-forwarded-for'], request.headers['x-real-ip']]
    .map((header) => (Array.isArray(header) ? header[0] : header)?.split(',', 1)[0]?.trim() ?? '')
    .find((address) => isIP(address) !== 0);
  return said ?? peer;
}

function isNear(address: string): boolean {
  const version = isIP(address);
  return version !== 0 && near.check(address, version === 4 ? 'ipv4' : 'ipv6');
}

/** IPv4 as sockets for both kinds show it: `::ffff:10.0.0.1`. */
function plain(address: string): string {
  const bare = address.startsWith('::ffff:') ? address.slice('::ffff:'.length) : address;
  return isIP(bare) === 0 ? address : bare;
}
