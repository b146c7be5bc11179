import { Type, type Static, type TSchema } from 'typebox';
import { ComponentChecks } from './checks.ts';
import { subjectToken } from './subject.ts';

/** How much of a service's warm runners is asked for by one api process, said whenever it changes and again every few seconds. */
export const RunnerDemand = Type.Object({
  service: Type.String(),
  service_uid: Type.String(),
  /** Which api process asks; demands of several add up. */
  caller: Type.String(),
  /** Calls that wait for a runner. */
  waiting: Type.Integer({ minimum: 0 }),
  /** Calls that a runner is working on. */
  active: Type.Integer({ minimum: 0 }),
});
export type RunnerDemand = Static<typeof RunnerDemand>;

/** One warm process, container or pod that performs calls of one service, one at a time. */
export const RunnerEntry = Type.Object({
  id: Type.String(),
  /** `ended` stays for a while, so that its log can be read. */
  state: Type.Union([
    Type.Literal('starting'),
    Type.Literal('ready'),
    Type.Literal('draining'),
    Type.Literal('ended'),
  ]),
  /** Base address of its routes (`runner.ts`), without a slash at its end; present while they answer. Its token is `runnerToken(key, id)`. */
  url: Type.Optional(Type.String()),
  service_version: Type.Integer(),
});
export type RunnerEntry = Static<typeof RunnerEntry>;

/** All there is to know of one service's runners, said whenever it changes and again every few seconds. */
export const RunnerState = Type.Object({
  service: Type.String(),
  service_uid: Type.String(),
  /** In OSCAR's words (OSCAR §1.6). `ready` also where none runs because none is wanted: the next call starts one. */
  state: Type.Union([
    Type.Literal('pending'),
    Type.Literal('ready'),
    Type.Literal('degraded'),
    Type.Literal('failed'),
    Type.Literal('stopped'),
  ]),
  /** A sentence for people: why runners fail to start. */
  reason: Type.String(),
  /** How many runners the scheduler wants there to be now. */
  desired: Type.Integer({ minimum: 0 }),
  /** How many there may be at most: calls past it wait. */
  limit: Type.Integer({ minimum: 0 }),
  runners: Type.Array(RunnerEntry),
  /** Epoch milliseconds of the last change of `state`. */
  since: Type.Number(),
});
export type RunnerState = Static<typeof RunnerState>;

/** Asks the scheduler to say the state of all runners now. */
export const RunnerAsk = Type.Object({ caller: Type.String() });
export type RunnerAsk = Static<typeof RunnerAsk>;

const Amount = Type.Object({ capacity: Type.Number(), used: Type.Number(), requested: Type.Number() });

/** What performs runs, as the scheduler knows it: for `/system/status` and the overview of apis that are processes of their own. */
export const ClusterState = Type.Object({
  /** Runs at the same time, at most. */
  slots: Type.Integer(),
  /** `kubernetes`, `container`: the adapter behind the executor, and the variable that chose it. */
  executor: Type.String(),
  chosen_by: Type.String(),
  /** Version of Kubernetes, empty without. */
  kubernetes_version: Type.String(),
  /** At most 500. */
  nodes: Type.Array(
    Type.Object({
      name: Type.String(),
      ready: Type.Boolean(),
      /** Thousandths of a core. */
      cpu_millis: Amount,
      memory_bytes: Amount,
      conditions: Type.Array(Type.Object({ type: Type.String(), status: Type.Boolean() })),
    }),
  ),
});
export type ClusterState = Static<typeof ClusterState>;

export interface HintContract {
  readonly schema: TSchema;
  /** The component that says it; `every` where each process does. */
  readonly owner: 'api' | 'scheduler' | 'every';
  readonly keyed: boolean;
  readonly summary: string;
}

/**
 * Messages that are never stored: whoever listens at that moment gets them, in no promised order, perhaps not at all. Each is
 * therefore complete in itself and said again every few seconds; nothing that must not be lost is a hint.
 */
export const hints = {
  'runners.demand': {
    schema: RunnerDemand,
    owner: 'api',
    keyed: true,
    summary: 'How many calls wait for a runner or have one.',
  },
  'runners.state': {
    schema: RunnerState,
    owner: 'scheduler',
    keyed: true,
    summary: 'The warm runners of a service.',
  },
  'runners.ask': {
    schema: RunnerAsk,
    owner: 'api',
    keyed: false,
    summary: 'Say the state of all runners now.',
  },
  'cluster.state': {
    schema: ClusterState,
    owner: 'scheduler',
    keyed: false,
    summary: 'What performs runs, and how much of it is in use.',
  },
  'component.checks': {
    schema: ComponentChecks,
    owner: 'every',
    keyed: false,
    summary: 'What a process found of itself and of the servers that it works with, and how to mend it.',
  },
} as const satisfies Record<string, HintContract>;

export type HintName = keyof typeof hints;

/** The subject of a hint: `<ns>.hint.v1.<name>[.<key>]`. */
export function hintSubject(namespace: string, name: HintName, key?: string): string {
  const base = `${subjectToken(namespace)}.hint.v1.${name}`;
  return key === undefined ? base : `${base}.${subjectToken(key)}`;
}
