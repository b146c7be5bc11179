import { expect, test } from 'vitest';
import { attemptSpec, type SpecParts } from './container-spec.ts';

const needs: SpecParts['needs'] = {
  image: 'busybox',
  pullPolicy: undefined,
  network: false,
  cpuMillis: 200,
  memoryBytes: 2 ** 28,
  memoryText: '256Mi',
  labels: { 'sluice.service': 'demo', 'sluice.run': 'demo-1', 'sluice.attempt': '1' },
};
const parts: SpecParts = {
  needs,
  image: { id: 'sha256:abc', variables: ['PATH'] },
  facts: { cores: 2, rootless: false, userNamespaces: false, selinux: false },
  instance: 'i1',
  user: { uid: 1001, gid: 1002 },
  workDir: '/data/work/demo-1.1',
  env: { A: 'x=y' },
  graceMs: 1500,
};

test('the container of an attempt: everything that the engine is told', () => {
  expect(attemptSpec(parts, '/data/scripts/s.sh')).toEqual({
    Image: 'sha256:abc',
    Entrypoint: ['/bin/sh'],
    Cmd: ['-c', 'exec /bin/sh "$0" 2>&1', '/sluice/script.sh'],
    Env: ['HOME=/data/work/demo-1.1', 'A=x=y'],
    WorkingDir: '/data/work/demo-1.1',
    User: '1001:1002',
    Labels: {
      'sluice.instance': 'i1',
      'sluice.service': 'demo',
      'sluice.run': 'demo-1',
      'sluice.attempt': '1',
    },
    Tty: false,
    AttachStdout: true,
    AttachStderr: true,
    StopSignal: 'SIGTERM',
    StopTimeout: 2,
    Healthcheck: { Test: ['NONE'] },
    HostConfig: {
      Memory: 2 ** 28,
      MemorySwap: 2 ** 28,
      NanoCpus: 200_000_000,
      PidsLimit: 4096,
      NetworkMode: 'none',
      CapDrop: ['ALL'],
      SecurityOpt: ['no-new-privileges'],
      Privileged: false,
      Init: true,
      LogConfig: { Type: 'none', Config: {} },
      RestartPolicy: { Name: 'no' },
      Mounts: [
        { Type: 'bind', Source: '/data/work/demo-1.1', Target: '/data/work/demo-1.1', ReadOnly: false },
        { Type: 'bind', Source: '/data/scripts/s.sh', Target: '/sluice/script.sh', ReadOnly: true },
      ],
    },
  });
});

test('what the engine would refuse is brought into its limits', () => {
  const small = attemptSpec({ ...parts, needs: { ...needs, cpuMillis: 1, memoryBytes: 1 } }, '/s.sh');
  expect(small.HostConfig).toMatchObject({ Memory: 6 * 2 ** 20, NanoCpus: 10_000_000 });
  const large = attemptSpec({ ...parts, needs: { ...needs, cpuMillis: 64_000 } }, '/s.sh');
  expect(large.HostConfig).toMatchObject({ NanoCpus: 2_000_000_000 });
});

test('a network only where it is asked for; HOME as the image or the service has it', () => {
  const spec = attemptSpec(
    { ...parts, needs: { ...needs, network: true }, image: { id: 'x', variables: ['HOME'] } },
    '/s.sh',
  );
  expect(spec.HostConfig?.NetworkMode).toBe('bridge');
  expect(spec.Env).toEqual(['A=x=y']);
  expect(attemptSpec({ ...parts, env: { HOME: '/srv' } }, '/s.sh').Env).toEqual(['HOME=/srv']);
});

test("an engine's own ways with users", () => {
  const facts = { cores: 2, rootless: true, userNamespaces: false, selinux: true };
  const rootless = attemptSpec({ ...parts, facts }, '/s.sh');
  expect(rootless.User).toBe('0:0');
  expect(rootless.HostConfig?.SecurityOpt).toEqual(['no-new-privileges', 'label=disable']);
  const mapped = attemptSpec(
    { ...parts, facts: { ...facts, rootless: false, userNamespaces: true } },
    '/s.sh',
  );
  expect(mapped).toMatchObject({ User: '1001:1002', HostConfig: { UsernsMode: 'host' } });
});
