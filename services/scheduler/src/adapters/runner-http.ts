import { RunnerHealth } from '@sluice/shared/contracts';
import { Check } from 'typebox/value';

/** Milliseconds for one answer of a runner; it is in the same cluster and does nothing for it. */
const answerMs = 2000;
const maxAnswer = 4096;

/** Base address of a runner's routes in a pod. */
export function runnerUrl(ip: string, port: number, runnerId: string): string {
  return `http://${ip.includes(':') ? `[${ip}]` : ip}:${port}/${runnerId}`;
}

/** Undefined where it does not answer as a runner does. */
export async function runnerHealth(
  url: string,
  token: string,
  signal: AbortSignal,
): Promise<RunnerHealth | undefined> {
  try {
    const response = await ask('GET', `${url}/health`, token, signal);
    const text = await response.text();
    if (response.status !== 200 || text.length > maxAnswer) return undefined;
    const health: unknown = JSON.parse(text);
    return Check(RunnerHealth, health) ? health : undefined;
  } catch {
    return undefined;
  }
}

/** Has a runner take no call any more; false where it could not be told. */
export async function drainRunner(url: string, token: string, signal: AbortSignal): Promise<boolean> {
  try {
    const response = await ask('POST', `${url}/drain`, token, signal);
    await response.body?.cancel();
    return response.ok;
  } catch {
    return false;
  }
}

function ask(method: string, address: string, token: string, signal: AbortSignal): Promise<Response> {
  return fetch(address, {
    method,
    headers: { authorization: `Bearer ${token}` },
    redirect: 'error',
    signal: AbortSignal.any([signal, AbortSignal.timeout(answerMs)]),
  });
}
