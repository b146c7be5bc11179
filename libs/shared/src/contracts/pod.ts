import { createHmac, timingSafeEqual } from 'node:crypto';
import { Type, type Static } from 'typebox';
import { AttemptOutcome, AttemptPlan } from './attempt.ts';
import { Run } from './run.ts';
import { RunnerPlan } from './runner.ts';

/*
 * What a supervisor in a pod and the scheduler say to each other. The pod asks: it is given nothing but an address, its name and a token.
 * `POST <scheduler>/v1/attempts/<run id>/<attempt>/claim`        PodClaim → AttemptGrant, 409 when the ledger wants this attempt no more
 * `POST <scheduler>/v1/attempts/<run id>/<attempt>/report`       AttemptReport → 204
 * `POST <scheduler>/v1/attempts/<run id>/<attempt>/storage`      → StorageGrant, before the one in hand expires
 * `POST <scheduler>/v1/runners/<runner id>/claim`                RunnerClaim → RunnerGrant
 * `POST <scheduler>/v1/runners/<runner id>/storage`              RunnerClaim → StorageGrant
 * Each with `Authorization: Bearer <podToken>`; 401 is final, 503 and a lost connection are tried again.
 */

/** An event up to this size is kept in the Job of its run, from which a lost ledger is restored; every Job lies in the cluster's database. */
export const carriedEventBytes = 8192;

/** Short-lived keys for the paths of one service, and for its part of the system bucket. */
export const StorageGrant = Type.Object({
  /** As pods reach it. */
  endpoint: Type.String(),
  region: Type.String(),
  access_key: Type.String(),
  secret_key: Type.String(),
  session_token: Type.Optional(Type.String()),
  /** Epoch milliseconds; absent where the keys do not expire. */
  expires_at: Type.Optional(Type.Number()),
  verify: Type.Boolean(),
  /** Certificates (PEM) trusted beside the well-known ones. */
  ca: Type.Optional(Type.String()),
});
export type StorageGrant = Static<typeof StorageGrant>;

/** Which pod asks: a supervisor that was restarted in its pod is given the same again. */
export const PodClaim = Type.Object({ pod: Type.String() });
export type PodClaim = Static<typeof PodClaim>;

/** Bounds that the scheduler sets for the supervisor of a pod; bytes. */
export const PodLimits = Type.Object({
  /** Outputs of one attempt together. */
  output_bytes: Type.Integer(),
  /** What is kept of what one run prints. */
  log_bytes: Type.Integer(),
});
export type PodLimits = Static<typeof PodLimits>;

export const AttemptGrant = Type.Object({
  plan: AttemptPlan,
  storage: StorageGrant,
  limits: PodLimits,
  /** The run as it is now: the supervisor keeps it beside the outcome (`OutcomeRecord.run`). */
  run: Type.Optional(Run),
});
export type AttemptGrant = Static<typeof AttemptGrant>;

export const RunnerClaim = Type.Object({
  pod: Type.String(),
  service: Type.String(),
  service_uid: Type.String(),
  service_version: Type.Integer(),
});
export type RunnerClaim = Static<typeof RunnerClaim>;

export const RunnerGrant = Type.Object({
  plan: RunnerPlan,
  storage: StorageGrant,
  /** What callers of the runner show: see `runnerToken`. The key it is made with never reaches a pod. */
  token: Type.String(),
  limits: Type.Object({
    output_bytes: Type.Integer(),
    /** Of a call's body. */
    body_bytes: Type.Integer(),
    /** Of a call's answer. */
    response_bytes: Type.Integer(),
  }),
});
export type RunnerGrant = Static<typeof RunnerGrant>;

/**
 * How an attempt ended, written once by its supervisor (`outcomeKey`, `If-None-Match: *`) before it is reported: the truth where the report is lost, and what
 * the ledger is rebuilt from.
 */
export const OutcomeRecord = Type.Object({
  outcome: AttemptOutcome,
  /** The run as the grant had it. */
  run: Type.Optional(Run),
  /** Epoch milliseconds. */
  ended_at: Type.Number(),
});
export type OutcomeRecord = Static<typeof OutcomeRecord>;

/** Key of an attempt's outcome in the system bucket. All of one service lie below one prefix, to which its pods' keys are limited. */
export function outcomeKey(ref: {
  readonly service: string;
  readonly runId: string;
  readonly attempt: number;
}): string {
  return `runs/${ref.service}/${ref.runId}/outcome-${ref.attempt}.json`;
}

/** Prefix in the system bucket of what the runs of a service leave. */
export function runsPrefix(service: string): string {
  return `runs/${service}/`;
}

/** Prefix in the system bucket of what the runs of a service print. */
export function logsPrefix(service: string): string {
  return `logs/${service}/`;
}

/** Prefix in the system bucket of what the builds of a user print. */
export function buildLogsPrefix(user: string): string {
  return `builds/${user}/`;
}

/** What a pod's token is good for, and nothing else. */
export type PodSubject =
  | { readonly kind: 'attempt'; readonly runId: string; readonly attempt: number }
  | {
      readonly kind: 'runner';
      readonly runnerId: string;
      readonly serviceUid: string;
      readonly serviceVersion: number;
    };

/**
 * The bearer token of one pod: any replica can check it, no other attempt or runner can use it.
 * @param key secret of the installation, at least 32 bytes
 * @param expiresAt epoch milliseconds
 */
export function podToken(key: string, subject: PodSubject, expiresAt: number): string {
  return `${expiresAt}.${signature(key, subject, expiresAt)}`;
}

/** Compares in constant time. */
export function isPodToken(key: string, subject: PodSubject, token: string, now: number): boolean {
  const dot = token.indexOf('.');
  const expiresAt = Number(token.slice(0, Math.max(0, dot)));
  if (dot <= 0 || !Number.isSafeInteger(expiresAt)) return false;
  const given = Buffer.from(token.slice(dot + 1));
  const expected = Buffer.from(signature(key, subject, expiresAt));
  return given.length === expected.length && timingSafeEqual(given, expected) && now < expiresAt;
}

function signature(key: string, subject: PodSubject, expiresAt: number): string {
  const parts =
    subject.kind === 'attempt'
      ? ['attempt', subject.runId, subject.attempt]
      : ['runner-claim', subject.runnerId, subject.serviceUid, subject.serviceVersion];
  // JSON keeps the parts apart, whatever is in them.
  return createHmac('sha256', key)
    .update(JSON.stringify([...parts, expiresAt]))
    .digest('hex');
}
