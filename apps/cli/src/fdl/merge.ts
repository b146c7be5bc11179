import type { Fdl, FdlService } from './parse.ts';
import { FdlError, type FdlProblem } from './problem.ts';

/**
 * The services of several files that go to the server together.
 * @param cluster only services of this list entry's key
 * @throws FdlError where two have one name
 */
export function mergeFdls(fdls: readonly Fdl[], cluster: string | undefined): readonly FdlService[] {
  const services = fdls
    .flatMap((fdl) => fdl.services)
    .filter(({ document }) => cluster === undefined || document.cluster_id === cluster);
  const problems = doubles(services);
  if (problems.length > 0) throw new FdlError(problems);
  return services;
}

/** Services of one name: the second would overwrite the first. Faults name both places. */
function doubles(services: readonly FdlService[]): FdlProblem[] {
  const first = new Map<string, FdlService>();
  return services.flatMap((service) => {
    const { name } = service.document;
    const other = first.get(name);
    if (other === undefined) {
      first.set(name, service);
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
