import type { Fdl, FdlService } from './parse.ts';
import { FdlError, type FdlProblem } from './problem.ts';

/**
 * The services of several files that go to the server together.
 * @param cluster only services of this list entry's key
 * @param serverOf where the services of a cluster go; two servers may have a service of one name
 * @throws FdlError where two have one name
 */
export function mergeFdls(
  fdls: readonly Fdl[],
  cluster: string | undefined,
  serverOf: (cluster: string) => string = () => '',
): readonly FdlService[] {
  const services = fdls
    .flatMap((fdl) => fdl.services)
    .filter(({ document }) => cluster === undefined || document.cluster_id === cluster);
  const problems = doubles(services, serverOf);
  if (problems.length > 0) throw new FdlError(problems);
  return services;
}

/** Services of one name: the second would overwrite the first. Faults name both places. */
function doubles(services: readonly FdlService[], serverOf: (cluster: string) => string): FdlProblem[] {
  const first = new Map<string, FdlService>();
  return services.flatMap((service) => {
    const { name } = service.document;
    const key = `${serverOf(service.document.cluster_id)} ${name}`;
    const other = first.get(key);
    if (other === undefined) {
      first.set(key, service);
      return [];
    }
    const { file, line, column } = service;
    const where = `${other.file}:${other.line}:${other.column}`;
    const message = `the service "${name}" is already at ${where}`;
    const hint =
      other.document.cluster_id === service.document.cluster_id ? '' : '; choose one with --cluster';
    return [{ file, line, column, path: service.path, message: message + hint }];
  });
}
