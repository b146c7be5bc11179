import { Type, type Static } from 'typebox';

/** Of one process; what is more is left out. */
export const maxChecks = 50;
/** Characters of a sentence; what is longer is cut. */
export const maxCheckText = 1000;
/** Characters of a name. */
export const maxCheckName = 64;

/** What was looked at, what was found, and how to mend it. */
export const ComponentCheck = Type.Object({
  /** What was looked at: `NATS streams`. */
  name: Type.String({ maxLength: maxCheckName }),
  ok: Type.Boolean(),
  /** What it means where it is not ok: something does not work, or may not for long. */
  severity: Type.Union([Type.Literal('error'), Type.Literal('warning')]),
  /** A sentence for people: what was found. */
  message: Type.String({ maxLength: maxCheckText }),
  /** What to do about it; absent where it is ok. */
  mend: Type.Optional(Type.String({ maxLength: maxCheckText })),
});
export type ComponentCheck = Static<typeof ComponentCheck>;

/** Milliseconds between two words of one process. */
export const checksEveryMs = 10_000;
/** Milliseconds after which a process that said nothing is no longer there. */
export const checksKeptMs = 30_000;

/** What one process found at its last look, said upon its start and then every `checksEveryMs`. */
export const ComponentChecks = Type.Object({
  component: Type.String({ maxLength: maxCheckName }),
  /** Random for each process. */
  instance: Type.String({ maxLength: maxCheckName }),
  version: Type.String({ maxLength: maxCheckName }),
  /** Epoch milliseconds. */
  started_at: Type.Number({ minimum: 0, maximum: 8_640_000_000_000_000 }),
  checks: Type.Array(ComponentCheck, { maxItems: maxChecks }),
});
export type ComponentChecks = Static<typeof ComponentChecks>;
