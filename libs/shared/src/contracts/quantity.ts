const suffixes: Readonly<Record<string, number>> = {
  n: 1e-9,
  u: 1e-6,
  m: 1e-3,
  '': 1,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  P: 1e15,
  E: 1e18,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
  Pi: 2 ** 50,
  Ei: 2 ** 60,
};

const form = /^([+-]?(?:\d+\.?\d*|\.\d+))(?:([eE][+-]?\d+)|([numkMGTPE]|[KMGTPE]i))?$/;

/**
 * The number behind a Kubernetes quantity (`0.2`, `500m`, `256Mi`, `1e3`), or undefined for anything else; `1E` is 10^18, `1E3` is 1000.
 */
export function parseQuantity(text: string): number | undefined {
  const match = form.exec(text);
  if (match === null) return undefined;
  const value = Number(`${match[1] ?? ''}${match[2] ?? ''}`) * (suffixes[match[3] ?? ''] ?? 1);
  return Number.isFinite(value) ? value : undefined;
}
