import type { ServiceDefinition } from '@sluice/shared/contracts';
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

/** Randomness, injected. */
export interface Random {
  /** Lower-case hex of that many random bytes. */
  hex(bytes: number): string;
  /** A random UUID (version 4). */
  uuid(): string;
}
