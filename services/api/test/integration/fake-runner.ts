import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';
import type { Bus } from '@sluice/shared/bus';
import {
  runnerCallHeader,
  runnerHeadBytes,
  runnerResultHeader,
  runnerToken,
  type RunnerCall,
  type RunnerEntry,
  type RunnerState,
} from '@sluice/shared/contracts';

/** A call that a runner was sent. */
export interface Invocation {
  readonly call: RunnerCall;
  readonly body: Buffer;
  readonly headers: IncomingMessage['headers'];
  readonly response: ServerResponse;
  /** Resolves when the connection of the call is closed. */
  readonly closed: Promise<void>;
  succeed(body?: string): void;
}

export interface FakeRunner {
  readonly entry: RunnerEntry;
  /** In the order of their coming; refused ones are not among them. */
  readonly invocations: readonly Invocation[];
  /** Calls that were refused since another was in hand. */
  refused(): number;
  close(): Promise<void>;
}

export const runnerKey = 'r'.repeat(43);

/**
 * A server that speaks the runners' protocol and has `perform` answer, for faults that a real runner cannot be made to
 * show. Like a real one it takes one call at a time.
 */
export async function fakeRunner(
  id: string,
  perform: (invocation: Invocation) => void | Promise<void>,
  version = 1,
): Promise<FakeRunner> {
  const invocations: Invocation[] = [];
  let inHand = false;
  let refused = 0;
  const invoke = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    if (inHand) {
      refused += 1;
      request.resume();
      response.writeHead(429).end('busy\n');
      return;
    }
    inHand = true;
    const closed = new Promise<void>((resolve) => response.once('close', resolve));
    void closed.then(() => {
      inHand = false;
    });
    const header = String(request.headers[runnerCallHeader]);
    const invocation: Invocation = {
      call: JSON.parse(Buffer.from(header, 'base64url').toString()) as RunnerCall,
      body: await buffer(request),
      headers: request.headers,
      response,
      closed,
      succeed: (body = '') => {
        // Free before the caller knows, as a real one.
        inHand = false;
        response.writeHead(200, { [runnerResultHeader]: 'succeeded' }).end(body);
      },
    };
    invocations.push(invocation);
    await perform(invocation);
  };
  const server = createServer({ maxHeaderSize: runnerHeadBytes }, (request, response) => {
    if (request.headers.authorization !== `Bearer ${runnerToken(runnerKey, id)}`)
      response.writeHead(401).end('wrong token\n');
    else if (request.url === `/${id}/logs?tail=3`)
      response.end(`{"entries":[{"at":${version},"message":"of ${id}"}]}`);
    else if (request.url === `/${id}/invoke`) void invoke(request, response);
    else response.writeHead(404).end();
  });
  const url = `${await listen(server)}/${id}`;
  return {
    entry: { id, state: 'ready', url, service_version: version },
    invocations,
    refused: () => refused,
    close: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

async function listen(server: Server): Promise<string> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** Says the state of a service's runners, as the scheduler does. */
export function sayRunners(
  bus: Bus,
  service: { readonly name: string; readonly uid: string },
  runners: readonly RunnerEntry[],
  change: Partial<RunnerState> = {},
): void {
  const payload: RunnerState = {
    service: service.name,
    service_uid: service.uid,
    state: 'ready',
    reason: '',
    desired: runners.length,
    limit: runners.length,
    runners: [...runners],
    since: 1,
    ...change,
  };
  bus.hint({ name: 'runners.state', key: service.name, payload });
}
