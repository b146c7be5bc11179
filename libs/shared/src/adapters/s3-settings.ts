import type { ConfigFault, Secret } from '../config/index.ts';
import type { S3Connection } from './s3-client.ts';

export interface S3Settings {
  readonly connection: S3Connection;
  readonly publicEndpoint: URL;
}

/** Values of the variables that name an S3 server. */
interface Values {
  readonly MINIO_ENDPOINT: string;
  readonly MINIO_PUBLIC_ENDPOINT: string;
  readonly MINIO_REGION: string;
  readonly MINIO_TLS_VERIFY: boolean;
  readonly MINIO_CA: string;
  readonly MINIO_ACCESS_KEY: string;
  readonly MINIO_SECRET_KEY: Secret | undefined;
}

/** The S3 server, where one is named. The variables have passed `s3Faults`. */
export function s3Settings(values: Values): S3Settings | undefined {
  const endpoint = addressOf(values.MINIO_ENDPOINT);
  const { MINIO_SECRET_KEY: secretKey } = values;
  if (endpoint === undefined || secretKey === undefined) return undefined;
  return {
    publicEndpoint: addressOf(values.MINIO_PUBLIC_ENDPOINT) ?? endpoint,
    connection: {
      endpoint,
      region: values.MINIO_REGION,
      accessKey: values.MINIO_ACCESS_KEY,
      secretKey,
      verify: values.MINIO_TLS_VERIFY,
      ca: values.MINIO_CA === '' ? undefined : values.MINIO_CA,
    },
  };
}

/** What several variables together have wrong. */
export function s3Faults(values: Values): ConfigFault[] {
  const faults: ConfigFault[] = [];
  const fault = (variable: keyof Values, message: string): void => {
    faults.push({ variable, message });
  };
  for (const variable of ['MINIO_ENDPOINT', 'MINIO_PUBLIC_ENDPOINT'] as const) {
    if (values[variable] !== '' && addressOf(values[variable]) === undefined) {
      fault(
        variable,
        'must be an address such as http://127.0.0.1:9000 or https://s3.example.org, without a path',
      );
    }
  }
  if (values.MINIO_CA !== '' && !values.MINIO_CA.includes('-----BEGIN CERTIFICATE-----')) {
    fault('MINIO_CA', 'must hold certificates in PEM form; MINIO_CA_FILE names a file with them');
  }
  if (values.MINIO_ENDPOINT === '') {
    if (values.MINIO_PUBLIC_ENDPOINT !== '')
      fault('MINIO_PUBLIC_ENDPOINT', 'is of use with MINIO_ENDPOINT only');
    return faults;
  }
  if (values.MINIO_ACCESS_KEY === '') fault('MINIO_ACCESS_KEY', 'must be set with MINIO_ENDPOINT');
  if (values.MINIO_SECRET_KEY === undefined) fault('MINIO_SECRET_KEY', 'must be set with MINIO_ENDPOINT');
  return faults;
}

function addressOf(text: string): URL | undefined {
  if (!URL.canParse(text)) return undefined;
  const url = new URL(text);
  const plain =
    /^https?:$/.test(url.protocol) && url.username === '' && url.pathname === '/' && url.search === '';
  return plain ? url : undefined;
}
