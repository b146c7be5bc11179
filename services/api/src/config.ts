import {
  ConfigError,
  s3Variables,
  integer,
  secret,
  text,
  type ConfigOf,
  type Secret,
} from '@sluice/shared/config';
import { corsConfig, corsVariables, type CorsConfig } from './cors-config.ts';

/** The api's variables: OSCAR's names (OSCAR §8). What OSCAR would invent is empty here: what is absent is reported as absent. */
export const apiVariables = {
  OSCAR_USERNAME: text({ why: 'name of the administrator (HTTP Basic)', fallback: 'oscar' }),
  OSCAR_PASSWORD: secret({
    why: 'password of the administrator; made at the first start where it is absent',
    fallback: undefined,
  }),
  SLUICE_HOST: text({
    why: 'address to listen on; the default is not reachable from other machines',
    fallback: '127.0.0.1',
  }),
  OSCAR_SERVICE_PORT: integer({
    why: 'port to listen on; 0 takes a free one',
    min: 0,
    max: 65_535,
    fallback: 8080,
  }),
  READ_TIMEOUT: integer({ why: 'seconds a request body may take', min: 1, max: 86_400, fallback: 300 }),
  WRITE_TIMEOUT: integer({
    why: 'seconds a connection may be silent before it is closed',
    min: 1,
    max: 86_400,
    fallback: 300,
  }),
  JOB_LISTING_LIMIT: integer({
    why: 'jobs and objects on a page of the OSCAR listings',
    min: 1,
    max: 1000,
    fallback: 70,
  }),
  SLUICE_BODY_LIMIT: integer({
    why: 'bytes a definition or a /job body may have; files go to the object routes, which stream',
    min: 1024,
    max: 104_857_600,
    fallback: 10_485_760,
  }),
  SLUICE_BUILD_BODY_LIMIT: integer({
    why: 'bytes a request for an image may have; its requirements file is base64 of at most 10 MB',
    min: 1024,
    max: 50_331_648,
    fallback: 16_777_216,
  }),
  SLUICE_ACCOUNTS: secret({
    why: 'accounts of the image builder beside the administrator’s, as JSON or YAML: a list of {login, uuid, key or key_sha256, env, blocked}',
    fallback: undefined,
  }),
  SLUICE_ACCOUNTS_FILE: text({
    why: 'a file with that list instead; it is read anew when it has changed',
    fallback: '',
  }),
  SLUICE_BODY_MEMORY: integer({
    why: 'bytes that all bodies in hand may have together; past it callers get 503',
    min: 1_048_576,
    max: 17_179_869_184,
    fallback: 134_217_728,
  }),
  SLUICE_STREAMS: integer({
    why: 'streams of live events and logs that may be open; past it callers get 503',
    min: 1,
    max: 5000,
    fallback: 256,
  }),
  SLUICE_STREAMS_PER_CALLER: integer({
    why: 'open streams of one caller (the administrator, or one service); past it 429',
    min: 1,
    max: 5000,
    fallback: 64,
  }),
  SLUICE_CALL_QUEUE: integer({
    why: 'calls (POST /run) of one service that may wait for a runner; past it callers get 429',
    min: 1,
    max: 10_000,
    fallback: 100,
  }),
  SLUICE_CALL_WAIT: integer({
    why: 'seconds a call waits for a runner before it gets 503',
    min: 1,
    max: 3600,
    fallback: 60,
  }),
  SLUICE_CALL_TIMEOUT: integer({
    why: 'seconds the script of a call may run; a definition’s sluice.timeout shortens it, never lengthens it',
    min: 1,
    max: 86_400,
    fallback: 300,
  }),
  OSCAR_NAME: text({ why: 'name of this installation in /system/config and on buckets', fallback: 'oscar' }),
  OSCAR_NAMESPACE: text({ why: 'reported by /system/config', fallback: '' }),
  OSCAR_SERVICES_NAMESPACE: text({ why: 'namespace that services report', fallback: 'oscar-svc' }),
  OSCAR_CONTROLLER_SERVICE_ACCOUNT: text({ why: 'reported by /system/config', fallback: '' }),
  ...s3Variables,
  ...corsVariables,
} as const;

/** The api's settings, units resolved. */
export interface ApiConfig {
  readonly host: string;
  /** 0 takes a free port. */
  readonly port: number;
  readonly adminUser: string;
  readonly adminPassword: Secret;
  readonly version: string;
  readonly gitCommit: string;
  /** As Go names it: `amd64`, `arm64`. */
  readonly architecture: string;
  /** Empty where there is no cluster. */
  readonly kubernetesVersion: string;
  /** A whole request body must be in after this. */
  readonly readTimeoutMs: number;
  /** A connection on which nothing moves is closed after this. */
  readonly idleTimeoutMs: number;
  readonly jobListingLimit: number;
  readonly bodyLimit: number;
  /** Bytes of a request for an image. */
  readonly buildBodyLimit: number;
  /** Where the accounts of the image builder are listed (`createFileAccounts`). */
  readonly accounts: { readonly path: string } | { readonly text: Secret } | undefined;
  /** Bytes of all bodies in hand. */
  readonly bodyMemory: number;
  /** Open streams of live events and logs. */
  readonly streams: number;
  readonly streamsPerCaller: number;
  readonly cors: CorsConfig;
  /** Calls of one service that wait for a runner, at most. */
  readonly callQueue: number;
  readonly callWaitMs: number;
  /** What the script of a call may take, at most. */
  readonly callTimeoutMs: number;
  readonly name: string;
  readonly namespace: string;
  readonly servicesNamespace: string;
  readonly controllerServiceAccount: string;
  /** The S3 server that clients may use directly; empty strings where there is none. */
  readonly minio: {
    readonly endpoint: string;
    readonly verify: boolean;
    readonly region: string;
    readonly accessKey: string;
    readonly secretKey: Secret | undefined;
  };
}

/** What no variable says. */
export interface ApiFacts {
  /** Where `OSCAR_PASSWORD` is absent, the one that was made. */
  readonly adminPassword: Secret;
  readonly version: string;
  readonly gitCommit?: string;
  /** Node's name: `x64`. */
  readonly arch: string;
  readonly kubernetesVersion?: string;
}

/**
 * Settings from variables.
 * @throws ConfigError for a user name that HTTP Basic cannot carry, or an origin that is none
 */
export function apiConfig(values: ConfigOf<typeof apiVariables>, facts: ApiFacts): ApiConfig {
  const cors = corsConfig(values);
  const faults = 'origins' in cors ? [] : [...cors];
  if (values.OSCAR_USERNAME.includes(':')) {
    faults.push({
      variable: 'OSCAR_USERNAME',
      message: 'must not have a colon: HTTP Basic ends the name there',
    });
  }
  if (faults.length > 0 || !('origins' in cors)) throw new ConfigError(faults);
  return Object.freeze({
    host: values.SLUICE_HOST,
    port: values.OSCAR_SERVICE_PORT,
    adminUser: values.OSCAR_USERNAME,
    adminPassword: facts.adminPassword,
    version: facts.version,
    gitCommit: facts.gitCommit ?? '',
    architecture: facts.arch === 'x64' ? 'amd64' : facts.arch,
    kubernetesVersion: facts.kubernetesVersion ?? '',
    readTimeoutMs: values.READ_TIMEOUT * 1000,
    idleTimeoutMs: values.WRITE_TIMEOUT * 1000,
    jobListingLimit: values.JOB_LISTING_LIMIT,
    bodyLimit: values.SLUICE_BODY_LIMIT,
    buildBodyLimit: values.SLUICE_BUILD_BODY_LIMIT,
    accounts: accountsSource(values),
    bodyMemory: values.SLUICE_BODY_MEMORY,
    streams: values.SLUICE_STREAMS,
    streamsPerCaller: values.SLUICE_STREAMS_PER_CALLER,
    cors,
    callQueue: values.SLUICE_CALL_QUEUE,
    callWaitMs: values.SLUICE_CALL_WAIT * 1000,
    callTimeoutMs: values.SLUICE_CALL_TIMEOUT * 1000,
    name: values.OSCAR_NAME,
    namespace: values.OSCAR_NAMESPACE,
    servicesNamespace: values.OSCAR_SERVICES_NAMESPACE,
    controllerServiceAccount: values.OSCAR_CONTROLLER_SERVICE_ACCOUNT,
    minio: {
      endpoint: values.MINIO_ENDPOINT,
      verify: values.MINIO_TLS_VERIFY,
      // What is absent is reported as absent.
      region: values.MINIO_ENDPOINT === '' ? '' : values.MINIO_REGION,
      accessKey: values.MINIO_ACCESS_KEY,
      secretKey: values.MINIO_SECRET_KEY,
    },
  });
}

/** As any secret the list may be in a file: `loadConfig` has read that as well and refused to have both. It is the file that is watched. */
export function accountsSource({
  SLUICE_ACCOUNTS: list,
  SLUICE_ACCOUNTS_FILE: path,
}: Pick<ConfigOf<typeof apiVariables>, 'SLUICE_ACCOUNTS' | 'SLUICE_ACCOUNTS_FILE'>): ApiConfig['accounts'] {
  if (path !== '') return { path };
  return list === undefined ? undefined : { text: list };
}
