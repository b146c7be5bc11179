import { getCACertificates } from 'node:tls';
import type { ClockReading } from '../checks/index.ts';
import type { Clock } from '../lifecycle/index.ts';

export interface HttpDateOptions {
  readonly url: URL;
  /** Whether the server's certificate is checked. */
  readonly verify: boolean;
  /** Certificates (PEM) that are trusted beside the system's. */
  readonly ca?: string | undefined;
  readonly clock: Clock;
}

const timeoutMs = 5000;

/** Asks a server for anything at all, without credentials: also a refusal has the server's time, and one of too old a signature has none other. */
export async function readHttpDate({ url, verify, ca, clock }: HttpDateOptions): Promise<ClockReading> {
  const { Client } = await import('undici');
  const client = new Client(url.origin, {
    connect: {
      timeout: timeoutMs,
      rejectUnauthorized: verify,
      // Given alone, it would be trusted instead of the system's.
      ...(ca === undefined ? {} : { ca: [...getCACertificates('default'), ca] }),
    },
  });
  try {
    const asked = clock.now();
    const answer = await client.request({
      method: 'GET',
      path: url.pathname,
      headersTimeout: timeoutMs,
      bodyTimeout: timeoutMs,
    });
    const { date } = answer.headers;
    const answered = clock.now();
    await answer.body.dump();
    return { date: typeof date === 'string' ? date : undefined, asked, answered };
  } finally {
    await client.destroy();
  }
}
