import { Type, type Static } from 'typebox';
import { kubeTime } from '../domain/job-list.ts';
import type { KnownRunners, ServiceId } from './calls/known-runners.ts';

/** OSCAR §1.6. */
export const DeploymentLogs = Type.Object({
  service_name: Type.String(),
  available: Type.Boolean(),
  message: Type.Optional(Type.String()),
  entries: Type.Array(Type.Object({ timestamp: Type.Optional(Type.String()), message: Type.String() })),
});
export type DeploymentLogs = Static<typeof DeploymentLogs>;

const defaultTail = 200;
const maxTail = 1000;

/** OSCAR §1.6: junk and numbers below 1 are the default. */
export function parseTailLines(text: string): number {
  const lines = /^\+?\d{1,18}$/.test(text) ? Number(text) : 0;
  return lines < 1 ? defaultTail : Math.min(lines, maxTail);
}

/** What the runners of a service printed last, all together in order of time. */
export async function readDeploymentLogs(
  service: ServiceId,
  options: { readonly timestamps: boolean; readonly tail: number },
  runners: Pick<KnownRunners, 'runnersOf' | 'logs'>,
): Promise<DeploymentLogs> {
  const { entries, asked, silent } = await runners.logs(service, options.tail);
  const nothing = { service_name: service.name, available: false };
  if (asked === silent)
    return { ...nothing, message: 'Deployment logs are unavailable for this service.', entries: [] };
  if (entries.length === 0)
    return { ...nothing, message: 'Deployment logs are not yet available.', entries: [] };
  const living = (runners.runnersOf(service)?.runners ?? []).some(({ state }) => state !== 'ended');
  return {
    service_name: service.name,
    available: true,
    ...(living ? {} : { message: lastLogs }),
    entries: entries.map(({ at, message }) => ({
      ...(options.timestamps ? { timestamp: kubeTime(at) } : {}),
      message,
    })),
  };
}

const lastLogs =
  'Returning recent logs from the last runtime attempt while deployment status remains unavailable.';
