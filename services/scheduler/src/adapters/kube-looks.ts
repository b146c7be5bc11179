import { clockChecks, doubt, fault, fine, seldom, type ClockReading, type Look } from '@sluice/shared/checks';
import type { ComponentCheck } from '@sluice/shared/contracts';
import { AppError, messageOf } from '@sluice/shared/errors';
import type { Clock } from '@sluice/shared/lifecycle';
import type { Pool } from 'undici';
import type { KubeTarget } from './kube-config.ts';
import { kubeFailure, statusFailure } from './kube-errors.ts';
import {
  kubeNamespaceCheck,
  kubeRightChecks,
  kubeVersionCheck,
  neededRights,
  type KubeNamespaceFacts,
  type KubeRight,
} from './kube-verdicts.ts';

export interface KubeLooksDeps {
  readonly target: KubeTarget;
  /** Namespace of Jobs. */
  readonly namespace: string;
  readonly supervisorImage: string;
  /** Rejects where the registry does not have it, or does not answer. */
  readonly imageFacts: (image: string) => Promise<unknown>;
  readonly clock: Clock;
}

export interface KubeLooks {
  readonly looks: readonly Look[];
  close(): Promise<void>;
}

const timeoutMs = 5000;
const seldomMs = 60_000;
const imageEveryMs = 5 * 60_000;

/** What is looked at of a cluster: its version and clock, our rights, the namespace of Jobs, the supervisor's image. */
export async function openKubeLooks(deps: KubeLooksDeps): Promise<KubeLooks> {
  const { target, namespace, clock } = deps;
  const { Pool } = await import('undici');
  const pool = new Pool(target.server.origin, {
    connections: 4,
    connect: { ...target.tls, timeout: timeoutMs },
  });
  const ask = createAsk(pool, target, clock);
  const mend =
    'Is the API server of KUBECONFIG, or of this pod, reachable and its token or certificate still valid? kubectl version with the same configuration says more.';
  const rights: Look = {
    name: 'Kubernetes rights',
    mend,
    look: async () => kubeRightChecks(await missingRights(ask, namespace), namespace),
  };
  const place: Look = {
    name: 'Kubernetes namespace',
    mend,
    look: async () => [kubeNamespaceCheck(namespace, await namespaceFacts(ask, namespace))],
  };
  return {
    looks: [
      { name: 'Kubernetes', mend, look: async () => versionFindings(ask) },
      seldom(rights, seldomMs, clock),
      seldom(place, seldomMs, clock),
      seldom(imageLook(deps), imageEveryMs, clock),
    ],
    close: () => pool.destroy(),
  };
}

interface Answer {
  readonly status: number;
  readonly body: unknown;
  readonly text: string;
  readonly reading: ClockReading;
}

type Ask = (method: 'GET' | 'POST', path: string, body?: object) => Promise<Answer>;

/** One request; what the server itself answered is an answer, but for refused credentials and troubles of its own. */
function createAsk(pool: Pool, target: KubeTarget, clock: Clock): Ask {
  const base = target.server.pathname.replace(/\/$/, '');
  return async (method, path, body) => {
    try {
      const asked = clock.now();
      const answer = await pool.request({
        method,
        path: `${base}${path}`,
        headers: {
          accept: 'application/json',
          'content-type': 'application/json',
          ...(await target.headers()),
        },
        body: body === undefined ? null : JSON.stringify(body),
        headersTimeout: timeoutMs,
        bodyTimeout: timeoutMs,
      });
      const { date } = answer.headers;
      const answered = clock.now();
      const text = await answer.body.text();
      const { statusCode: status } = answer;
      if (status === 401 || status === 429 || status >= 500) throw statusFailure(status, text, undefined);
      const reading = { date: typeof date === 'string' ? date : undefined, asked, answered };
      return { status, text, reading, body: parsed(text) };
    } catch (error) {
      throw kubeFailure(error);
    }
  };
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return {};
  }
}

async function versionFindings(ask: Ask): Promise<readonly ComponentCheck[]> {
  const answer = await ask('GET', '/version');
  const { gitVersion } = answer.body as { gitVersion?: unknown };
  if (typeof gitVersion !== 'string') {
    throw new AppError('unavailable', `The API server does not tell its version (status ${answer.status}).`);
  }
  return [kubeVersionCheck(gitVersion), ...clockChecks('Kubernetes clock', 'the API server', answer.reading)];
}

async function missingRights(ask: Ask, namespace: string): Promise<readonly KubeRight[]> {
  const asked = await Promise.all(
    neededRights.map(async (right) => ((await isAllowed(ask, right, namespace)) ? [] : [right])),
  );
  return asked.flat();
}

async function isAllowed(
  ask: Ask,
  { verb, group, resource, isNamespaced }: KubeRight,
  namespace: string,
): Promise<boolean> {
  const attributes = { verb, group, resource, ...(isNamespaced ? { namespace } : {}) };
  const { status, body, text } = await ask('POST', '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews', {
    apiVersion: 'authorization.k8s.io/v1',
    kind: 'SelfSubjectAccessReview',
    spec: { resourceAttributes: attributes },
  });
  if (status >= 300) throw statusFailure(status, text, undefined);
  return (body as { status?: { allowed?: boolean } }).status?.allowed === true;
}

const enforced = 'pod-security.kubernetes.io/enforce';

async function namespaceFacts(ask: Ask, namespace: string): Promise<KubeNamespaceFacts> {
  const path = `/api/v1/namespaces/${encodeURIComponent(namespace)}`;
  const { status, body } = await ask('GET', path);
  if (status === 404) return { kind: 'missing' };
  if (status === 200) {
    const { metadata } = body as { metadata?: { labels?: Readonly<Record<string, string>> } };
    return { kind: 'seen', podSecurity: metadata?.labels?.[enforced] };
  }
  // It may not be read. A pod that is only tried out tells the same.
  const trial = await ask('POST', `${path}/pods?dryRun=All`, trialPod);
  if (trial.status === 404) return { kind: 'missing' };
  if (trial.status < 300) return { kind: 'tried', refusal: undefined };
  return { kind: 'tried', refusal: statusFailure(trial.status, trial.text, undefined).message };
}

/** As a script's whose image runs as root. */
const trialPod = {
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { generateName: 'sluice-check-' },
  spec: {
    restartPolicy: 'Never',
    automountServiceAccountToken: false,
    containers: [
      {
        name: 'check',
        image: 'busybox',
        resources: {
          requests: { cpu: '10m', memory: '16Mi' },
          limits: { cpu: '10m', memory: '16Mi' },
        },
      },
    ],
  },
};

function imageLook({ supervisorImage, imageFacts }: KubeLooksDeps): Look {
  const name = 'supervisor image';
  const mend =
    'Is the name in SLUICE_SUPERVISOR_IMAGE right, and may the nodes pull it? An image that was loaded into the nodes by hand cannot be seen from here.';
  return {
    name,
    mend,
    look: async () => {
      if (supervisorImage === '') return [fault(name, 'SLUICE_SUPERVISOR_IMAGE is not set.', mend)];
      try {
        await imageFacts(supervisorImage);
        return [fine(name, `The registry has ${supervisorImage}.`)];
      } catch (error) {
        return [
          doubt(name, `${supervisorImage} was not found where its name says: ${messageOf(error)}`, mend),
        ];
      }
    },
  };
}
