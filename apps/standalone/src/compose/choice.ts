/** Which adapter stands behind a port, and which variable chose it. */
export interface AdapterChoice {
  readonly port: string;
  readonly adapter: string;
  readonly chosenBy: string;
}
