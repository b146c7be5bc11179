import { Type, type Static } from 'typebox';
import type { ApiConfig } from '../config.ts';

/** OSCAR §1.10. */
export const SystemInfo = Type.Object({
  version: Type.String(),
  git_commit: Type.String(),
  architecture: Type.String(),
  kubernetes_version: Type.String(),
});

export function systemInfo(config: ApiConfig): Static<typeof SystemInfo> {
  return {
    version: config.version,
    git_commit: config.gitCommit,
    architecture: config.architecture,
    kubernetes_version: config.kubernetesVersion,
  };
}

/** OSCAR §1.9. */
export const SystemConfig = Type.Object({
  config: Type.Object({
    name: Type.String(),
    namespace: Type.String(),
    services_namespace: Type.String(),
    controller_service_account: Type.String(),
    gpu_available: Type.Boolean(),
    interLink_available: Type.Boolean(),
    yunikorn_enable: Type.Boolean(),
    kueue_enable: Type.Boolean(),
    volume_enable: Type.Boolean(),
    oidc_groups: Type.Array(Type.String()),
    minio_quota_enabled: Type.Boolean(),
  }),
  minio_provider: Type.Object({
    endpoint: Type.String(),
    verify: Type.Boolean(),
    access_key: Type.String(),
    secret_key: Type.String(),
    region: Type.String(),
  }),
  allowed_image_repositories: Type.Array(Type.String()),
});

/** What the administrator sees; what this installation does not have is `false`, empty or an empty list. */
export function systemConfig(
  config: ApiConfig,
  allowedImages: readonly string[],
): Static<typeof SystemConfig> {
  return {
    config: {
      name: config.name,
      namespace: config.namespace,
      services_namespace: config.servicesNamespace,
      controller_service_account: config.controllerServiceAccount,
      gpu_available: false,
      interLink_available: false,
      yunikorn_enable: false,
      kueue_enable: false,
      volume_enable: false,
      oidc_groups: [],
      minio_quota_enabled: false,
    },
    minio_provider: {
      endpoint: config.minio.endpoint,
      verify: config.minio.verify,
      access_key: config.minio.accessKey,
      secret_key: config.minio.secretKey?.reveal() ?? '',
      region: config.minio.region,
    },
    allowed_image_repositories: [...allowedImages],
  };
}
