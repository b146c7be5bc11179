import { podStorageVariables } from '@sluice/scheduler';
import { integer, text, type Variable } from '@sluice/shared/config';
import { executionVariables } from '@sluice/standalone/compose';

/** The beginning of addresses: no path, no credentials. */
function origin(why: string): Variable<string | undefined> {
  const form = 'an http or https address without a path';
  return {
    why,
    form,
    fallback: { value: undefined },
    parse: (value) => {
      const url = URL.parse(value);
      if (url === null || !/^https?:$/.test(url.protocol) || url.href !== `${url.origin}/`)
        throw new Error(`is not ${form}`);
      return url.origin;
    },
  };
}

/** Variables of what performs runs: a Kubernetes cluster, or a container engine. */
export const clusterVariables = {
  ...executionVariables,
  SLUICE_DATA: text({
    why: 'Folder for what containers of DOCKER_HOST work on; by the same path for this process and for the engine.',
    fallback: './data',
  }),
  SLUICE_RUNNER_HOST: text({
    why: 'Address that calls to the warm runners of DOCKER_HOST come in at; another one than loopback needs SLUICE_RUNNER_URL.',
    fallback: '127.0.0.1',
  }),
  SLUICE_RUNNER_PORT: integer({
    why: 'Their port; 0 takes a free one.',
    min: 0,
    max: 65_535,
    fallback: 0,
  }),
  SLUICE_RUNNER_URL: origin(
    'Address of these runners as the api reaches it, where that is on another machine or in another container: http://name-of-the-scheduler:8083.',
  ),
  KUBECONFIG: text({
    why: 'File with the address of the Kubernetes cluster; in a pod its own cluster is used.',
    fallback: '',
  }),
  OSCAR_SERVICES_NAMESPACE: text({
    why: 'Namespace that Jobs and warm runners are made in.',
    fallback: 'oscar-svc',
  }),
  SLUICE_SUPERVISOR_IMAGE: text({
    why: 'Image of the supervisor that runs beside a script.',
    fallback: '',
  }),
  SLUICE_SCHEDULER_HOST: text({ why: 'Address that pods report to listens on.', fallback: '0.0.0.0' }),
  SLUICE_SCHEDULER_PORT: integer({
    why: 'Port that pods report to; 0 takes a free one.',
    min: 0,
    max: 65_535,
    fallback: 8081,
  }),
  SLUICE_SCHEDULER_URL: text({
    why: 'Address of the schedulers as pods reach it: http://name-of-the-service:8081.',
    fallback: '',
  }),
  SLUICE_POD_MINIO_ENDPOINT: text({
    why: 'Address of the S3 server as pods reach it, where it is another one than MINIO_ENDPOINT.',
    fallback: '',
  }),
  ...podStorageVariables,
  SLUICE_INSECURE_REGISTRIES: text({
    why: 'Registries (host:port, separated by commas) that are asked without TLS which user an image runs as.',
    fallback: '',
  }),
  SLUICE_LOG_LIMIT: integer({
    why: 'Bytes that are kept of what one run prints, beside its last lines.',
    min: 1024,
    max: 1_073_741_824,
    fallback: 10_485_760,
  }),
  SLUICE_POD_DISK: integer({
    why: "Bytes of a node's disk that one pod may fill with its input, its outputs and whatever else it writes; a service with a larger ephemeral_storage_request gets that.",
    min: 67_108_864,
    max: 1_099_511_627_776,
    fallback: 53_687_091_200,
  }),
  SLUICE_MAX_PENDING: integer({
    why: 'Pods that may wait for a place in the cluster; past it nothing more is started.',
    min: 1,
    max: 10_000,
    fallback: 50,
  }),
  SLUICE_JOB_TTL: integer({
    why: 'Seconds that a Job stays in the cluster after its end; its outcome and its log stay as long as TTL_JOB says.',
    min: 0,
    max: 604_800,
    fallback: 300,
  }),
};
