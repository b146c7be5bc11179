import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';

/** One address before several processes, as a Service of a cluster: connections go round, past those that refuse. */
export interface Balancer {
  readonly port: number;
  /** Cuts all connections and refuses new ones, until `open`. */
  shut(): void;
  open(): void;
  close(): Promise<void>;
}

/** @param host `0.0.0.0` where pods must reach it */
export async function openBalancer(targets: readonly number[], host = '127.0.0.1'): Promise<Balancer> {
  const sockets = new Set<Socket>();
  let turn = 0;
  let shut = false;
  const server = createServer((incoming) => {
    sockets.add(incoming);
    incoming.on('close', () => sockets.delete(incoming)).on('error', () => incoming.destroy());
    turn += 1;
    if (shut) {
      incoming.destroy();
      return;
    }
    const order = targets.map((_, index) => targets[(turn + index) % targets.length] ?? 0);
    join(incoming, order, sockets);
  });
  server.listen(0, host);
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port was given');
  return {
    port: address.port,
    shut: () => {
      shut = true;
      for (const socket of sockets) socket.destroy();
    },
    open: () => {
      shut = false;
    },
    close: async () => {
      const closed = once(server, 'close');
      server.close();
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}

function join(incoming: Socket, [port, ...others]: readonly number[], sockets: Set<Socket>): void {
  if (port === undefined) {
    incoming.destroy();
    return;
  }
  const outgoing = connect(port, '127.0.0.1');
  let open = false;
  sockets.add(outgoing);
  outgoing.on('connect', () => {
    open = true;
    incoming.pipe(outgoing).pipe(incoming);
  });
  outgoing.on('error', () => {
    if (open) incoming.destroy();
    else join(incoming, others, sockets);
  });
  outgoing.on('close', () => {
    sockets.delete(outgoing);
    if (open) incoming.destroy();
  });
  incoming.on('close', () => outgoing.destroy());
}
