import { ServiceDefinition, type ServiceSecrets } from '@sluice/shared/contracts';
import { AppError } from '@sluice/shared/errors';
import { Type, type Static } from 'typebox';
import { Deployment } from './deployment.ts';
import { decodeGoJson } from './go-json-decode.ts';
import { encodeGoJson } from './go-json-encode.ts';
import { exposeThirdParty } from './service-secrets.ts';

const { sluice, ...oscarFields } = ServiceDefinition.properties;

/** What a client may send: OSCAR §2.1 with Sluice's own options, and what is named only to be refused. */
export const ServiceInput = Type.Object(
  {
    ...oscarFields,
    kserve: Type.Optional(Type.Unknown()),
    sluice,
  },
  { title: 'ServiceInput' },
);
export type ServiceInput = Static<typeof ServiceInput>;

/** A service as it is read: OSCAR §12.1, then `sluice` where it was given. */
export const ServiceOutput = Type.Object(
  {
    ...oscarFields,
    volume_status: Type.Object({ enabled: Type.Boolean() }),
    deployment: Type.Optional(Deployment),
    sluice,
  },
  { title: 'Service' },
);
export type ServiceOutput = Static<typeof ServiceOutput>;

/** The server's own MinIO as clients see it (OSCAR §2.3); empty strings where there is none. */
export interface OwnMinio {
  readonly endpoint: string;
  readonly verify: boolean;
  readonly region: string;
}

const prefix = 'The service specification is not valid: ';

/** A 400 with OSCAR's words before the reason. */
export function invalidService(message: string, field?: string): AppError {
  return new AppError('invalid_input', `${prefix}${message}`, field === undefined ? {} : { field });
}

/**
 * Reads a definition and checks what OSCAR's binding checks (OSCAR §1.2, step 1).
 * @throws AppError `invalid_input` with OSCAR's text
 */
export function decodeService(body: Uint8Array): ServiceInput {
  let service: ServiceInput;
  try {
    service = decodeGoJson(ServiceInput, body, {
      root: 'Service',
      scalarLists: ['expose.api_port', 'expose.nodePort'],
    });
  } catch (error) {
    throw error instanceof AppError ? invalidService(error.message, error.field) : error;
  }
  const faults = [
    ...required('Name', service.name),
    ...(Array.from(service.name).length > 39 ? [validation('Name', 'max')] : []),
    ...required('Image', service.image),
    ...required('Script', service.script ?? ''),
  ];
  if (faults.length > 0) throw invalidService(faults.join('\n'));
  return service;
}

function required(field: string, value: string): string[] {
  return value === '' ? [validation(field, 'required')] : [];
}

function validation(field: string, tag: string): string {
  return `Key: 'Service.${field}' Error:Field validation for '${field}' failed on the '${tag}' tag`;
}

/** What a reader gets of a stored definition; `deployment` where it was asked for (OSCAR §1.4). */
export function serviceOutput(
  definition: ServiceDefinition,
  secrets: Pick<ServiceSecrets, 'token'> | undefined,
  minio: OwnMinio,
  deployment: Deployment | undefined,
): ServiceOutput {
  const { sluice, ...rest } = exposeThirdParty(definition);
  return {
    ...rest,
    token: secrets?.token ?? '',
    storage_providers: withOwnMinio(rest.storage_providers, minio),
    volume_status: { enabled: definition.volume !== undefined },
    ...(deployment === undefined ? {} : { deployment }),
    ...(sluice === undefined ? {} : { sluice }),
  };
}

/** OSCAR §2.3: `minio.default` always is the server's, its keys hidden. */
export function withOwnMinio(
  providers: ServiceDefinition['storage_providers'],
  minio: OwnMinio,
): NonNullable<ServiceDefinition['storage_providers']> {
  const own = {
    endpoint: minio.endpoint,
    verify: minio.verify,
    access_key: 'hidden',
    secret_key: 'hidden',
    region: minio.region,
  };
  return { ...providers, minio: { ...providers?.minio, default: own } };
}

/** The bytes of OSCAR §12.1. */
export function encodeService(service: ServiceOutput): string {
  return encodeGoJson(ServiceOutput, service);
}
