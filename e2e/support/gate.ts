import { createServer } from 'node:http';
import { once } from 'node:events';
import { waitFor } from './wait.ts';

/** Where scripts say that they have come to a point and wait until they may go on, on this machine or in a pod. */
export interface Gate {
  /** Shell that tells the gate that the script is here and goes on when it is open. */
  wait(name: string): string;
  /** Shell that says that a script begins or ends, and prints how many are between the two. */
  enter(name: string): string;
  leave(name: string): string;
  /** Resolves when a script has entered. */
  entered(name: string): Promise<void>;
  /** Resolves when a script has come to the point. */
  reached(name: string): Promise<void>;
  open(name: string): void;
  close(): Promise<void>;
}

/** @param host this machine as scripts see it */
export async function openGate(host = '127.0.0.1'): Promise<Gate> {
  const seen = new Set<string>();
  const opened = new Set<string>();
  const inside = new Map<string, number>();
  const server = createServer((request, response) => {
    const [, verb = '', name = ''] = (request.url ?? '').split('/');
    if (verb === 'wait') {
      seen.add(name);
      response.writeHead(opened.has(name) ? 200 : 404).end();
      return;
    }
    const count = (inside.get(name) ?? 0) + (verb === 'enter' ? 1 : -1);
    inside.set(name, count);
    response.end(`${count}\n`);
  });
  server.listen(0, host === '127.0.0.1' ? host : '0.0.0.0');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port was given');
  // Small images have one of the two.
  const ask = (path: string): string => {
    const url = `http://${host}:${address.port}/${path}`;
    return `{ curl -fsS ${url} || wget -qO- ${url}; } 2>/dev/null`;
  };
  return {
    wait: (name) => `until ${ask(`wait/${name}`)}; do sleep 0.1; done`,
    enter: (name) => ask(`enter/${name}`),
    leave: (name) => ask(`leave/${name}`),
    reached: async (name) => {
      await waitFor(`a script to reach ${name}`, () => seen.has(name) || undefined);
    },
    entered: async (name) => {
      await waitFor(`a script to enter ${name}`, () => inside.has(name) || undefined);
    },
    open: (name) => void opened.add(name),
    close: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}
