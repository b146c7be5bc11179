import { loadConfig, Secret } from '@sluice/shared/config';
import { createMetrics, silentLogger } from '@sluice/shared/telemetry';
import { apiConfig, apiVariables } from '../../config.ts';
import type { HttpContext } from '../context.ts';
import { createServer } from '../server.ts';

/** `/openapi.json` as a server of that version answers it, without a server: routes are added and never called. */
export async function describeApi(version: string): Promise<unknown> {
  const facts = { adminPassword: new Secret('unused'), version, arch: 'x64' };
  const context = {
    config: apiConfig(
      loadConfig(apiVariables, {}, () => ''),
      facts,
    ),
    log: silentLogger(),
    metrics: createMetrics(),
  };
  const app = createServer(withNothing(context) as unknown as HttpContext);
  const answer = await app.inject('/openapi.json');
  await app.close();
  if (answer.statusCode !== 200) throw new Error(`the description was answered with ${answer.statusCode}`);
  return answer.json();
}

/** What a route takes apart when it is added may be anything: it does nothing before a call. */
function withNothing(given: object): object {
  const nothing: object = new Proxy(() => nothing, { get: () => nothing });
  return new Proxy(given, {
    get: (target, name) => (name in target ? (Reflect.get(target, name) as unknown) : nothing),
  });
}
