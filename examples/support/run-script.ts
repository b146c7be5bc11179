import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, readdir, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** What the examples' scripts call; each must be there under every shell that is tried. */
const TOOLS = ['awk', 'cat', 'find', 'fold', 'grep', 'mkdir', 'mv', 'rm', 'sort', 'tail', 'tr', 'wc'];

export interface Shell {
  readonly name: string;
  readonly command: readonly [string, ...string[]];
  /** The awk and the tools are busybox' own too, as in the examples' images. */
  readonly busybox: boolean;
}

/** `/bin/sh` always; busybox and bash where this machine has them. */
export function shells(): Shell[] {
  const busybox = ['/bin/busybox', '/usr/bin/busybox'].find((path) => existsSync(path));
  return [
    { name: 'sh', command: ['/bin/sh'], busybox: false },
    ...(existsSync('/bin/bash')
      ? [{ name: 'bash', command: ['/bin/bash', '--posix'] as const, busybox: false }]
      : []),
    ...(busybox ? [{ name: 'busybox sh', command: [busybox, 'sh'] as const, busybox: true }] : []),
  ];
}

export interface ScriptResult {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
  /** What the script left in its output folder, by name. */
  readonly outputs: Readonly<Record<string, string>>;
}

/**
 * A temporary folder in which an example's script is run as the platform runs it: `INPUT_FILE_PATH`, an empty
 * `TMP_OUTPUT_DIR` (OSCAR §7.2), nothing else of the environment but PATH.
 */
export async function scriptBench(script: string, shell: Shell) {
  const folder = await mkdtemp(join(tmpdir(), 'example-'));
  const path = shell.busybox ? join(folder, 'bin') : '/usr/bin:/bin';
  if (shell.busybox) {
    await mkdir(path);
    for (const tool of TOOLS) await symlink(shell.command[0], join(path, tool));
  }

  async function run(inputPath: string, env: Readonly<Record<string, string>> = {}): Promise<ScriptResult> {
    const outputDir = await mkdtemp(join(folder, 'out-'));
    const [program, ...args] = shell.command;
    const { status, stdout, stderr } = spawnSync(program, [...args, script], {
      cwd: folder,
      encoding: 'utf8',
      timeout: 15_000,
      env: { PATH: path, INPUT_FILE_PATH: inputPath, TMP_OUTPUT_DIR: outputDir, ...env },
    });
    const outputs: Record<string, string> = {};
    for (const name of (await readdir(outputDir)).sort())
      outputs[name] = await readFile(join(outputDir, name), 'utf8');
    return { status, stdout, stderr, outputs };
  }

  return {
    folder,
    run,
    /** Runs the script on a file of this name and content. */
    async runOn(name: string, content: string | Buffer, env: Readonly<Record<string, string>> = {}) {
      const inputDir = await mkdtemp(join(folder, 'in-'));
      await writeFile(join(inputDir, name), content);
      return run(join(inputDir, name), env);
    },
    [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }),
  };
}

/** The files of a folder, by name. */
export async function filesOf(folder: string) {
  const files: Record<string, string> = {};
  for (const name of (await readdir(folder)).sort()) files[name] = await readFile(join(folder, name), 'utf8');
  return files;
}
