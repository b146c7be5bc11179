import type { Bus } from '@sluice/shared/bus';
import { doubt, fault, fine, type ProcessChecks } from '@sluice/shared/checks';
import { checksKeptMs, ComponentCheck, type ComponentChecks } from '@sluice/shared/contracts';
import { messageOf } from '@sluice/shared/errors';
import type { Clock } from '@sluice/shared/lifecycle';
import { Type, type Static } from 'typebox';
import { wireTime } from '../domain/run-wire.ts';
import type { DeploymentChecks } from '../ports.ts';

const ProcessReport = Type.Object({
  component: Type.String(),
  instance: Type.String({ description: 'random for each process' }),
  version: Type.String(),
  started_at: Type.String(),
  heard_at: Type.String({ description: 'when its findings came in; now for the one that answers' }),
  checks: Type.Array(ComponentCheck),
});

export const SystemChecks = Type.Object({
  ok: Type.Boolean({ description: 'whether no check found an error; there may be warnings' }),
  checks: Type.Array(ComponentCheck, {
    description: 'of the installation as a whole: which components are there, versions, dead letters',
  }),
  processes: Type.Array(ProcessReport, { description: 'at most 200' }),
});
export type SystemChecks = Static<typeof SystemChecks>;
type ProcessReport = Static<typeof ProcessReport>;

/** What every process of the installation found last. */
export interface Checks {
  start(): Promise<void>;
  stop(): Promise<void>;
  read(): Promise<SystemChecks>;
}

export interface ChecksDeps {
  readonly checks: DeploymentChecks;
  readonly bus: Pick<Bus, 'listen'> & { readonly deadLetters: Pick<Bus['deadLetters'], 'count'> };
  readonly clock: Clock;
}

const maxProcesses = 200;

interface Heard {
  readonly word: ComponentChecks;
  readonly at: number;
  /** Monotonic milliseconds. */
  readonly until: number;
}

/** Keeps the last word of each process for as long as it is one of now, and looks for itself when it is asked. */
export function createChecks({ checks: { self, expected }, bus, clock }: ChecksDeps): Checks {
  const heard = new Map<string, Heard>();
  const current: { listening?: { stop(): Promise<void> }; reading?: Promise<SystemChecks> } = {};
  const hear = (word: ComponentChecks): void => {
    if (word.instance === self.instance) return;
    heard.delete(word.instance);
    const oldest = heard.size < maxProcesses ? undefined : heard.keys().next().value;
    if (oldest !== undefined) heard.delete(oldest);
    heard.set(word.instance, { word, at: clock.now(), until: clock.monotonic() + checksKeptMs });
  };
  const read = async (): Promise<SystemChecks> => {
    const [own, letters] = await Promise.all([self.look(), deadLetterCheck(bus)]);
    for (const [instance, { until }] of heard) if (until < clock.monotonic()) heard.delete(instance);
    const processes = [
      reportOf(ownWord(self, own), clock.now()),
      ...[...heard.values()].map(({ word, at }) => reportOf(word, at)),
    ].sort((a, b) => compare(a.component, b.component) || compare(a.instance, b.instance));
    const checks = [...presenceChecks(processes, expected), ...versionChecks(processes), letters];
    return {
      ok: [...checks, ...processes.flatMap((one) => one.checks)].every(isBearable),
      checks,
      processes,
    };
  };
  return {
    start: async () => {
      current.listening = await bus.listen(['component.checks'], ({ payload }) => {
        hear(payload as ComponentChecks);
      });
    },
    stop: async () => current.listening?.stop(),
    // Whoever asks at the same time gets the same answer: a look asks every neighbour.
    read: () =>
      (current.reading ??= read().finally(() => {
        delete current.reading;
      })),
  };
}

function isBearable({ ok, severity }: ComponentCheck): boolean {
  return ok || severity === 'warning';
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function ownWord(self: ProcessChecks, checks: ComponentCheck[]): ComponentChecks {
  const { component, instance, version, startedAt } = self;
  return { component, instance, version, started_at: startedAt, checks };
}

function reportOf({ started_at, ...word }: ComponentChecks, at: number): ProcessReport {
  return {
    component: word.component,
    instance: word.instance,
    version: word.version,
    started_at: wireTime(started_at),
    heard_at: wireTime(at),
    checks: word.checks.map(checkOf),
  };
}

/** A newer process may say more of a check. */
function checkOf({ name, ok, severity, message, mend }: ComponentCheck): ComponentCheck {
  return { name, ok, severity, message, ...(mend === undefined ? {} : { mend }) };
}

/** Whether each component that a whole installation has was heard. */
export function presenceChecks(
  processes: readonly Pick<ProcessReport, 'component'>[],
  expected: readonly string[],
): readonly ComponentCheck[] {
  return expected.map((component) => {
    const count = processes.filter((one) => one.component === component).length;
    if (count > 0) return fine(component, count === 1 ? 'One process.' : `${count} processes.`);
    return fault(
      component,
      `No ${component} has been heard for ${checksKeptMs / 1000} s.`,
      'Is it running, and does it use the same NATS_URL and SLUICE_NAMESPACE? Its log and its /health/ready say what it waits for.',
    );
  });
}

/** During an upgrade there are two for a while. */
export function versionChecks(
  processes: readonly Pick<ProcessReport, 'component' | 'version'>[],
): readonly ComponentCheck[] {
  const versions = [...new Set(processes.map(({ version }) => version))].sort();
  if (versions.length <= 1) return [fine('versions', versions[0] ?? '')];
  const list = versions.map((version) => {
    const components = new Set(
      processes.filter((one) => one.version === version).map(({ component }) => component),
    );
    return `${version} (${[...components].join(', ')})`;
  });
  return [
    doubt(
      'versions',
      `Processes of different versions: ${list.join(', ')}.`,
      'Fine for the minutes of an upgrade; afterwards end the old ones, or finish the upgrade.',
    ),
  ];
}

async function deadLetterCheck({ deadLetters }: ChecksDeps['bus']): Promise<ComponentCheck> {
  const name = 'dead letters';
  try {
    const count = await deadLetters.count();
    if (count === 0) return fine(name, 'None.');
    return doubt(
      name,
      `${count} ${count === 1 ? 'message' : 'messages'} could not be processed.`,
      'sluice dead-letter list shows why; sluice dead-letter redrive --all sends them again once that is mended.',
    );
  } catch (error) {
    return fault(name, messageOf(error), 'The bus has to be reachable: see its own checks.');
  }
}
