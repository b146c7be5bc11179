import pc from 'picocolors';

export type Colors = ReturnType<typeof pc.createColors>;

export function createColors(enabled: boolean): Colors {
  return pc.createColors(enabled);
}

/** A state in its colour. */
export function stateText(colors: Colors, state: string): string {
  switch (state) {
    case 'succeeded':
      return colors.green(state);
    case 'failed':
      return colors.red(state);
    case 'running':
    case 'starting':
      return colors.cyan(state);
    case 'cancelled':
    case 'superseded':
      return colors.yellow(state);
    default:
      return state;
  }
}
