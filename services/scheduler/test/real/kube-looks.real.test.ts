import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createLooks } from '@sluice/shared/checks';
import type { ComponentCheck } from '@sluice/shared/contracts';
import { systemClock, type Clock } from '@sluice/shared/lifecycle';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { loadKubeTarget, openKubeLooks, type KubeTarget } from '../../src/adapters/index.ts';

const namespace = `t-${randomBytes(5).toString('hex')}`;
let folder = '';

function kubectl(...args: readonly string[]): string {
  if (!process.env['KUBECONFIG'])
    throw new Error('this test needs a cluster and kubectl in PATH: set KUBECONFIG');
  return execFileSync('kubectl', [...args], { encoding: 'utf8', timeout: 60_000 });
}

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'sluice-kube-'));
  kubectl('create', 'namespace', namespace);
});
afterAll(() => {
  kubectl('delete', 'namespace', namespace, '--wait=false');
  rmSync(folder, { recursive: true, force: true });
});

/** As a pod of that service account speaks to the cluster. */
async function targetOf(account: string): Promise<KubeTarget> {
  const token = kubectl('-n', namespace, 'create', 'token', account).trim();
  const config = JSON.parse(
    kubectl('config', 'view', '--raw', '--minify', '--flatten', '-o', 'json'),
  ) as object;
  const file = join(folder, account);
  writeFileSync(file, JSON.stringify({ ...config, users: usersOf(config, { token }) }));
  return loadKubeTarget(file);
}

function usersOf(config: object, user: object): readonly object[] {
  const { users } = config as { users: readonly { name: string }[] };
  return users.map(({ name }) => ({ name, user }));
}

async function findings(
  target: KubeTarget,
  change: { namespace?: string; imageFacts?: () => Promise<unknown>; clock?: Clock } = {},
): Promise<readonly ComponentCheck[]> {
  const clock = change.clock ?? systemClock;
  const { looks, close } = await openKubeLooks({
    target,
    namespace: change.namespace ?? namespace,
    supervisorImage: 'registry.example/supervisor:1',
    imageFacts: change.imageFacts ?? (async () => ({})),
    clock,
  });
  try {
    return (await createLooks(looks, { clock })()).filter(({ ok }) => !ok);
  } finally {
    await close();
  }
}

const titles = (checks: readonly ComponentCheck[]): readonly string[] =>
  checks.map(({ severity, name }) => `${severity} ${name}`);

it('finds nothing for an administrator, and names a namespace that is not there, a clock and an image', async () => {
  const target = await loadKubeTarget(process.env['KUBECONFIG']);
  expect(await findings(target)).toEqual([]);
  expect(titles(await findings(target, { namespace: `${namespace}-x` }))).toEqual([
    'error Kubernetes namespace',
  ]);
  const clock: Clock = { ...systemClock, now: () => systemClock.now() - 60_000 };
  expect(titles(await findings(target, { clock }))).toEqual(['warning Kubernetes clock']);
  const imageFacts = async (): Promise<never> => Promise.reject(new Error('no such image'));
  expect(titles(await findings(target, { imageFacts }))).toEqual(['warning supervisor image']);
});

it('names the rights that a service account does not have', async () => {
  kubectl('-n', namespace, 'create', 'serviceaccount', 'poor');
  const target = await targetOf('poor');
  const nothing = await findings(target);
  expect(titles(nothing)).toEqual([
    'error Kubernetes rights',
    'warning Kubernetes rights',
    'warning Kubernetes rights',
    'warning Kubernetes namespace',
  ]);
  expect(nothing[0]?.message).toContain(
    'create, delete, get, list, watch jobs and create, delete, get, list, watch pods',
  );

  const role = ['-n', namespace, 'create', 'role'];
  kubectl(...role, 'most', '--verb=create,get,list,watch', '--resource=pods,jobs.batch');
  kubectl(...role, 'events', '--verb=list', '--resource=events');
  for (const name of ['most', 'events']) {
    const account = `--serviceaccount=${namespace}:poor`;
    kubectl('-n', namespace, 'create', 'rolebinding', name, `--role=${name}`, account);
  }
  await expect
    .poll(async () => (await findings(target)).map(({ message }) => message), { timeout: 20_000 })
    .toEqual([
      `The scheduler may not delete jobs and delete pods in the namespace ${namespace}.`,
      'The scheduler may not list nodes.',
    ]);

  kubectl('label', 'namespace', namespace, 'pod-security.kubernetes.io/enforce=restricted');
  const found = async (): Promise<string | undefined> =>
    (await findings(target)).find(({ name }) => name === 'Kubernetes namespace')?.message;
  await expect.poll(found, { timeout: 20_000 }).toContain('restricted');
  expect(titles(await findings(await loadKubeTarget(process.env['KUBECONFIG'])))).toEqual([
    'warning Kubernetes namespace',
  ]);
});

it('tells of credentials that are refused and of a server that is not there', async () => {
  const target = await loadKubeTarget(process.env['KUBECONFIG']);
  const stranger: KubeTarget = {
    ...target,
    tls: target.tls.ca === undefined ? {} : { ca: target.tls.ca },
    headers: async () => ({ authorization: 'Bearer nothing' }),
  };
  const refused = await findings(stranger);
  expect(titles(refused)).toContain('error Kubernetes rights');
  const away = await findings({ ...target, server: new URL('https://127.0.0.1:1') });
  expect(titles(away)).toEqual(['error Kubernetes', 'error Kubernetes rights', 'error Kubernetes namespace']);
});
