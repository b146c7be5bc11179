import type { LocalContext } from '../context.ts';
import { exitCodes, type ExitCode } from '../exit-codes.ts';
import { fdlJsonSchema } from '../fdl/json-schema.ts';

/** The JSON Schema of FDL files; for programs and for people alike. */
export async function printSchema(context: LocalContext): Promise<ExitCode> {
  await context.io.out(`${JSON.stringify(fdlJsonSchema(), null, 2)}\n`);
  return exitCodes.ok;
}
