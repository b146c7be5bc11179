import { text, type ConfigFault, type ConfigOf } from '@sluice/shared/config';

/** Which pages of other origins may use the API from a browser; names and defaults are OSCAR's (OSCAR §8). */
export const corsVariables = {
  INGRESS_SERVICES_CORS_ALLOWED_ORIGINS: text({
    why: 'origins of web pages that may use the API, separated by commas; * for any; a login is always wanted beside it',
    fallback:
      'https://dashboard.oscar.grycap.net,https://dashboard-devel.oscar.grycap.net,https://dashboard-demo.oscar.grycap.net,http://oscar.oscar.svc.cluster.local,http://host.docker.internal,http://localhost,http://localhost:5173',
  }),
  INGRESS_SERVICES_CORS_ALLOWED_METHODS: text({
    why: 'methods that such pages may use',
    fallback: 'GET, PUT, POST, DELETE, PATCH, HEAD',
  }),
  INGRESS_SERVICES_CORS_ALLOWED_HEADERS: text({
    why: 'headers that such pages may send; Idempotency-Key and If-Match are not among OSCAR’s',
    fallback: 'Authorization, Content-Type',
  }),
} as const;

export interface CorsConfig {
  /** As browsers write them: scheme, host, and the port unless it is the scheme's own; or `*`. */
  readonly origins: ReadonlySet<string>;
  readonly methods: readonly string[];
  readonly headers: readonly string[];
}

/** The settings, or what is wrong with the variables. */
export function corsConfig(values: ConfigOf<typeof corsVariables>): CorsConfig | readonly ConfigFault[] {
  const faults: ConfigFault[] = [];
  const items = (
    variable: keyof typeof corsVariables,
    read: (item: string) => string | undefined,
    form: string,
  ) =>
    values[variable]
      .split(',')
      .map((item) => item.trim())
      .filter((item) => item !== '')
      .map((item) => {
        const value = read(item);
        if (value === undefined) faults.push({ variable, message: `${JSON.stringify(item)} is not ${form}` });
        return value ?? '';
      });
  const token = (item: string): string | undefined =>
    /^[A-Za-z0-9!#$%&'*+.^_`|~-]+$/.test(item) ? item : undefined;
  const config = {
    origins: new Set(
      items(
        'INGRESS_SERVICES_CORS_ALLOWED_ORIGINS',
        originOf,
        'an origin (write for example "https://example.org")',
      ),
    ),
    methods: items('INGRESS_SERVICES_CORS_ALLOWED_METHODS', token, 'a method'),
    headers: items('INGRESS_SERVICES_CORS_ALLOWED_HEADERS', token, 'a header name'),
  };
  return faults.length > 0 ? faults : config;
}

function originOf(item: string): string | undefined {
  if (item === '*') return item;
  const url = URL.parse(item);
  if (url === null || !['http:', 'https:'].includes(url.protocol) || url.host.includes('*')) return undefined;
  const bare = url.pathname === '/' && url.search === '' && url.hash === '' && url.username === '';
  return bare && url.password === '' ? url.origin : undefined;
}
