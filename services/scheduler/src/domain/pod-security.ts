import type { V1PodSecurityContext, V1SecurityContext } from '@kubernetes/client-node';

/** What a registry tells of an image before it is pulled. */
export interface ImageFacts {
  /** `USER` of the image: `1000`, `1000:1000`, `node`, or empty for root. */
  readonly user?: string;
  /** `sha256:…` that the image's tag stands for now. */
  readonly digest?: string;
}

/** Under which users a pod's containers run, and by which of the Pod Security Standards. */
export interface PodSecurity {
  readonly level: 'restricted' | 'baseline';
  /** Which, and why, for the time line. */
  readonly sentence: string;
  readonly pod: V1PodSecurityContext;
  readonly script: V1SecurityContext;
  readonly supervisor: V1SecurityContext;
}

const userForm = /^(\d{1,10})(?::(\d{1,10}))?$/;

interface User {
  readonly uid: number;
  readonly gid: number | undefined;
}

/** A numeric user with or without a group, as `run_as` and images write it. */
export function numericUser(text: string | undefined): User | undefined {
  const match = userForm.exec(text ?? '');
  if (match === null) return undefined;
  return { uid: Number(match[1]), gid: match[2] === undefined ? undefined : Number(match[2]) };
}

/**
 * The supervisor writes to the shared folder only, where a script may have put links: they lead to nothing that could be written.
 * Restricted where the user is known by number and is not root: both containers then run under it, so that each reads what the other wrote. Else baseline:
 * the script under its image's user, the supervisor as a root that can do nothing but read past file modes, since a script of any user may leave what only that user can read.
 */
export function podSecurity(runAs: string | undefined, facts: ImageFacts | undefined): PodSecurity {
  const wished = numericUser(runAs);
  const own = numericUser(facts?.user);
  const user = wished ?? own;
  if (user !== undefined && user.uid !== 0) {
    return restricted(user, wished === undefined ? "the image's own user" : 'sluice.run_as');
  }
  return baseline(wished, baselineReason(wished, facts));
}

function restricted(user: User, source: string): PodSecurity {
  const container = {
    allowPrivilegeEscalation: false,
    capabilities: { drop: ['ALL'] },
  };
  return {
    level: 'restricted',
    sentence: `runs as user ${user.uid} (${source}), Pod Security "restricted"`,
    pod: {
      runAsNonRoot: true,
      runAsUser: user.uid,
      ...(user.gid === undefined ? {} : { runAsGroup: user.gid }),
      fsGroup: user.gid ?? user.uid,
      seccompProfile: { type: 'RuntimeDefault' },
    },
    script: container,
    supervisor: { ...container, readOnlyRootFilesystem: true },
  };
}

function baseline(wished: User | undefined, reason: string): PodSecurity {
  return {
    level: 'baseline',
    sentence: `${reason}, Pod Security "baseline"`,
    pod: { seccompProfile: { type: 'RuntimeDefault' } },
    script: {
      allowPrivilegeEscalation: false,
      ...(wished === undefined ? {} : { runAsUser: wished.uid }),
      ...(wished?.gid === undefined ? {} : { runAsGroup: wished.gid }),
    },
    supervisor: {
      runAsUser: 0,
      runAsGroup: 0,
      allowPrivilegeEscalation: false,
      // What a script left under umask 077 is readable to its own user and to nobody else without it.
      capabilities: { drop: ['ALL'], add: ['DAC_OVERRIDE'] },
      readOnlyRootFilesystem: true,
    },
  };
}

function baselineReason(wished: User | undefined, facts: ImageFacts | undefined): string {
  if (wished !== undefined) return 'runs as root (sluice.run_as)';
  const { user } = facts ?? {};
  const hint = 'sluice.run_as names another';
  if (facts === undefined || user === undefined) return `runs as its image's user, unknown here (${hint})`;
  if (['', '0', 'root'].includes(user.split(':')[0] ?? '')) return `runs as root, its image's user (${hint})`;
  return `runs as ${JSON.stringify(user.slice(0, 64))}, its image's user, whose number is unknown (${hint})`;
}
