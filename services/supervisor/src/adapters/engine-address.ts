/** Where a container engine listens. */
export type EngineAddress =
  | { readonly text: string; readonly socketPath: string }
  | { readonly text: string; readonly host: string; readonly port: number };

/**
 * Reads an address as `DOCKER_HOST` has it.
 * @throws Error with a sentence that says what is wrong
 */
export function parseEngineAddress(text: string): EngineAddress {
  if (text.startsWith('unix://')) {
    const socketPath = text.slice('unix://'.length);
    if (!socketPath.startsWith('/') || socketPath.includes('\0')) {
      throw new Error(`"${text}" names no socket: write unix:///path/to/docker.sock`);
    }
    return { text, socketPath };
  }
  const match =
    /^(?<scheme>[a-z]+):\/\/(?<host>[a-zA-Z0-9.-]+|\[[0-9a-fA-F:]+\])(?::(?<port>[0-9]{1,5}))?\/?$/.exec(
      text,
    );
  const { scheme, host = '', port = '2375' } = match?.groups ?? {};
  if ((scheme === 'tcp' || scheme === 'http') && Number(port) >= 1 && Number(port) <= 65_535) {
    return { text, host: host.replace(/^\[(.*)\]$/, '$1'), port: Number(port) };
  }
  if (/^(?:https|ssh|npipe|fd):\/\//.test(text)) {
    throw new Error(
      `"${text}" cannot be used: the engine must run on this machine, since it mounts the work folders of runs; name its socket (unix:///path)`,
    );
  }
  throw new Error(`"${text}" is not an address: write unix:///path/to/docker.sock or tcp://host:port`);
}
