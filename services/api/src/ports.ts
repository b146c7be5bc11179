import type { Readable } from 'node:stream';
import type { ProcessChecks } from '@sluice/shared/checks';
import type { RunnerCall, RunnerLogEntry, RunnerResult, ServiceDefinition } from '@sluice/shared/contracts';
import type { BuildDesk } from '@sluice/shared/stores';
import type { Fault } from './domain/faults.ts';

/** Checks presigned URLs; `createPresigner` of `@sluice/shared/adapters` is one. */
export interface UrlVerifier {
  /** @throws AppError `forbidden` with a message that says what is wrong */
  verify(request: {
    readonly method: string;
    readonly bucket: string;
    readonly key: string;
    readonly query: URLSearchParams;
    readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>;
  }): { readonly contentType?: string };
}

/** What this installation does of a definition; answered by the composition root, which knows the adapters. */
export interface Capabilities {
  /** Sentences about what is accepted and not done: `image is not used: …`. */
  warnings(definition: ServiceDefinition): readonly string[];
  /** What is refused, beside what the api refuses by itself. */
  refuse(definition: ServiceDefinition): readonly Fault[];
}

/** What the composition root knows of the installation, for `GET /system/overview`. */
export interface Installation {
  /** By port: the adapter and the variable that chose it. */
  readonly adapters: Readonly<Record<string, { readonly adapter: string; readonly chosen_by: string }>>;
  /** Runs at the same time, at most. */
  readonly slots: number;
  /** Folder of the buckets where they are folders. */
  readonly bucketsPath?: string;
}

/** What `GET /system/checks` is made of, beside what other processes say. */
export interface DeploymentChecks {
  /** This process. */
  readonly self: ProcessChecks;
  /** Components of which one process at least has to be heard. */
  readonly expected: readonly string[];
}

/** A machine that performs attempts. */
export interface NodeFacts {
  readonly name: string;
  readonly ready: boolean;
  /** Thousandths of a core. */
  readonly cpuMillis: NodeAmount;
  readonly memoryBytes: NodeAmount;
  /** In Kubernetes' words: `Ready`, `MemoryPressure`, `DiskPressure`. */
  readonly conditions: readonly { readonly type: string; readonly status: boolean }[];
}

export interface NodeAmount {
  /** What attempts may have of it. */
  readonly capacity: number;
  /** What is in use, whoever uses it. */
  readonly used: number;
  /** What attempts and runners under way declare. */
  readonly requested: number;
}

/** Randomness, injected. */
export interface Random {
  /** Lower-case hex of that many random bytes. */
  hex(bytes: number): string;
  /** A random UUID (version 4). */
  uuid(): string;
}

/** A runner as far as it is needed to speak to it. */
export interface RunnerAddress {
  readonly id: string;
  readonly url: string;
}

/** What a runner made of a call. */
export type RunnerReply =
  /** The call was performed; `body` comes from the runner as it is read, and is to be read or destroyed. */
  | {
      readonly kind: 'answered';
      readonly result: RunnerResult;
      readonly retryAfterSeconds: number | undefined;
      /** Bytes of the body where the runner says so. */
      readonly length: number | undefined;
      readonly body: Readable;
    }
  /** Nothing of the call was started: it may go to another runner. */
  | {
      readonly kind: 'refused';
      readonly why: 'busy' | 'draining' | 'unreachable' | 'denied';
      readonly message: string;
    }
  /** Nothing of the call was started, and another runner would say the same. */
  | { readonly kind: 'rejected'; readonly tooLarge: boolean; readonly message: string }
  /** Nobody knows what was done: the call is never sent again. */
  | { readonly kind: 'lost'; readonly message: string };

/** Speaks to runners (`contracts/runner.ts`). */
export interface RunnerClient {
  /** Sends a call and resolves with the head of the answer. Rejects only with the signal's reason. */
  invoke(request: {
    readonly runner: RunnerAddress;
    readonly call: RunnerCall;
    readonly body: Uint8Array;
    readonly signal: AbortSignal;
  }): Promise<RunnerReply>;
  /**
   * The last lines that a runner's scripts printed, oldest first.
   * @throws AppError `unavailable`
   */
  logs(runner: RunnerAddress, tail: number, signal: AbortSignal): Promise<readonly RunnerLogEntry[]>;
  /** Breaks off what is under way. */
  close(): Promise<void>;
}

/** Whose environment and images a login to the builder's routes opens. */
export interface Account {
  /** `[a-z0-9]+`, at most 61 characters. */
  readonly login: string;
  readonly admin: boolean;
  readonly env: Readonly<Record<string, string>>;
}

/** Accounts of the builder's routes, beside the administrator's. */
export interface Accounts {
  /** The account of `uuid:key`; undefined where there is none. */
  find(uuid: string, key: string): Promise<Account | undefined>;
}

/** What the builder's routes work with. */
export interface Builds {
  readonly desk: BuildDesk;
  readonly accounts: Accounts;
}
