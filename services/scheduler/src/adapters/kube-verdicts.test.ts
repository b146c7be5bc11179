import { expect, it } from 'vitest';
import { kubeNamespaceCheck, kubeRightChecks, kubeVersionCheck, neededRights } from './kube-verdicts.ts';

it.each([
  ['v1.34.4', true],
  ['v1.29.0+k3s1', true],
  ['v1.28.15-gke.1', false],
])('Kubernetes %s', (version, ok) => {
  expect(kubeVersionCheck(version).ok).toBe(ok);
});

it('rights that are missing are named together, those that are of no consequence apart', () => {
  expect(kubeRightChecks([], 'x')).toMatchObject([{ ok: true }]);
  const missing = neededRights.filter(({ verb, resource }) => verb === 'delete' || resource === 'nodes');
  expect(kubeRightChecks(missing, 'x')).toMatchObject([
    {
      ok: false,
      severity: 'error',
      message: 'The scheduler may not delete jobs and delete pods in the namespace x.',
    },
    { ok: false, severity: 'warning', message: 'The scheduler may not list nodes.' },
  ]);
});

it.each([
  [{ kind: 'missing' }, 'error'],
  [{ kind: 'seen', podSecurity: undefined }, 'ok'],
  [{ kind: 'seen', podSecurity: 'baseline' }, 'ok'],
  [{ kind: 'seen', podSecurity: 'restricted' }, 'warning'],
  [{ kind: 'tried', refusal: undefined }, 'ok'],
  [{ kind: 'tried', refusal: 'pods "x" is forbidden: violates PodSecurity "restricted:latest"' }, 'warning'],
  [{ kind: 'tried', refusal: 'exceeded quota' }, 'warning'],
] as const)('a namespace of which is known: %j', (facts, wanted) => {
  const check = kubeNamespaceCheck('jobs', facts);
  expect(check.ok ? 'ok' : check.severity).toBe(wanted);
  expect(check.message).toContain('jobs');
});
