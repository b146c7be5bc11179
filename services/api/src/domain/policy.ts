/** Who is calling. Users of an identity provider and tenants join here, not in the routes. */
export type Principal =
  | { readonly kind: 'admin'; readonly name: string }
  | { readonly kind: 'service'; readonly service: string; readonly uid: string };

export type Action =
  | 'system.read'
  | 'system.write'
  | 'services.read'
  | 'services.write'
  | 'services.backfill'
  | 'buckets'
  | 'objects'
  | 'service.use'
  | 'jobs.read'
  | 'jobs.delete'
  | 'runs.list'
  | 'runs.read'
  | 'runs.cancel'
  | 'runs.retry'
  | 'dead-letters';

/** What is acted on, as far as that decides: the service that it belongs to. */
export interface Resource {
  readonly serviceUid?: string;
}

/** What a service may do with its own runs. */
const ownActions: ReadonlySet<Action> = new Set(['service.use', 'runs.list', 'runs.read', 'runs.cancel']);

/**
 * The one rule of who may do what. Without a resource it says whether the action is thinkable for the principal at all;
 * the route then asks again with the resource. An administrator submits no jobs and makes no calls: OSCAR §3.3 wants the service's token.
 */
export function can(principal: Principal, action: Action, resource?: Resource): boolean {
  if (principal.kind === 'admin') return action !== 'service.use';
  return ownActions.has(action) && (resource === undefined || resource.serviceUid === principal.uid);
}

/** The principal's name as it is noted with a run. */
export function nameOf(principal: Principal): string {
  return principal.kind === 'admin' ? principal.name : `service:${principal.service}`;
}
