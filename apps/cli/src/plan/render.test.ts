import { expect, it } from 'vitest';
import { createColors } from '../format/colors.ts';
import type { ServicePlan } from './compare.ts';
import { planLine } from './render.ts';

const plain = createColors(false);
const plan = (over: Partial<ServicePlan>): ServicePlan => ({
  service: 'demo',
  action: 'update',
  changes: [],
  sendsSecrets: false,
  ...over,
});

it.each<[ServicePlan, string]>([
  [plan({ action: 'create' }), '+ demo    (new)'],
  [plan({ action: 'unchanged' }), '= demo    unchanged'],
  [plan({ action: 'unchanged', sendsSecrets: true }), '= demo    unchanged (secrets are always sent)'],
  [
    plan({
      changes: [
        { path: 'script', from: '2 lines', to: '3 lines', hidden: false },
        { path: 'memory', from: '256Mi', to: '512Mi', hidden: false },
        { path: 'environment.secrets.KEY', hidden: true },
        { path: 'environment.variables.A', to: '', hidden: false },
        { path: 'image', from: 'a\nb', to: 'x'.repeat(100), hidden: false },
      ],
    }),
    String.raw`~ demo     script changed (2 lines → 3 lines), memory 256Mi → 512Mi, environment.secrets.KEY changed (not shown), environment.variables.A (none) → "", image a\nb → ` +
      `${'x'.repeat(59)}…`,
  ],
  [
    plan({ changes: [{ path: 'script', from: '2 lines', to: '2 lines', hidden: false }] }),
    '~ demo     script changed',
  ],
])('is one line per service', (input, line) => {
  expect(planLine(input, 7, plain)).toBe(line);
});

const build = { kind: 'python', file: 'requirements.txt', target: 'anna:demo-1', isCheck: false };
const shown = 'build: python requirements.txt → image anna:demo-1';
it.each<[ServicePlan, string]>([
  [plan({ action: 'create', build }), `+ demo (new)  ${shown}`],
  [plan({ build }), `~ demo  ${shown}`],
  [
    plan({ build, changes: [{ path: 'cpu', from: '1', to: '2', hidden: false }] }),
    `~ demo  ${shown}, cpu 1 → 2`,
  ],
  [
    plan({ action: 'unchanged', build: { ...build, isCheck: true } }),
    `= demo unchanged  ${shown} (again, if its base has changed)`,
  ],
])('says what is to be built', (input, line) => {
  expect(planLine(input, 4, plain)).toBe(line);
});

it('has colours where they are wanted', () => {
  expect(planLine(plan({ action: 'create' }), 4, createColors(true))).toBe(
    '\u001b[32m+ demo\u001b[39m (new)',
  );
});
