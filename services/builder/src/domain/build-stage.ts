/** What BuildKit is at, for whoever wants to know where the time goes. */
export type BuildStage = 'pull' | 'install' | 'push' | 'cache import' | 'cache export';

/** @param step name of a step under way, as BuildKit writes it; undefined where it tells no stage */
export function stageOf(step: string | undefined): BuildStage | undefined {
  if (step === undefined) return undefined;
  // Layers are pushed within the step that exports them.
  if (step.startsWith('exporting to ')) return 'push';
  if (step.startsWith('exporting cache')) return 'cache export';
  if (step.startsWith('importing cache')) return 'cache import';
  const instruction = /^\[[^\]]{0,100}\] ?(\w+) /.exec(step)?.[1];
  if (instruction === undefined) return undefined;
  return instruction === 'FROM' ? 'pull' : instruction === 'RUN' ? 'install' : undefined;
}
