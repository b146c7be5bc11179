import { access, mkdir, rename, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { stringify } from 'yaml';
import { checkoutFolder } from '../api/connection.ts';
import { CliError, messageOf, systemCode, usageError } from '../cli-error.ts';
import type { LocalContext } from '../context.ts';
import { exitCodes, type ExitCode } from '../exit-codes.ts';
import { defaultImages, fdlText, languages, scriptText, type Language } from '../init/templates.ts';
import { ask } from './ask.ts';

export interface InitOptions {
  readonly dir?: string;
  readonly image?: string;
  readonly input?: string;
  readonly output?: string;
  readonly lang: string;
  readonly force?: boolean;
}

/** Names of buckets are made of it, which have 3 characters at least; OSCAR §1.2 has 39 at most. */
const namePattern = /^[a-z0-9][a-z0-9-]{1,37}[a-z0-9]$/;
const nameRule = 'has to be 3 to 39 lower-case letters, digits and hyphens, such as "word-count"';

/** Writes a service's definition and script, ready to be applied. */
export async function init(
  context: LocalContext,
  given: string | undefined,
  options: InitOptions,
): Promise<ExitCode> {
  const name = given ?? (await askName(context));
  if (!namePattern.test(name)) throw usageError(`The name "${name}" ${nameRule}.`);
  const language = languageOf(options.lang);
  const folder = path.resolve(context.cwd, options.dir ?? '.');
  const fdl = path.join(folder, `${name}.yaml`);
  const script = path.join(folder, `${name}.sh`);
  const template = {
    name,
    language,
    image: textOption(options.image, '--image') ?? defaultImages[language],
    input: pathOption(options.input, '--input') ?? `${name}/in`,
    output: pathOption(options.output, '--output') ?? `${name}/out`,
    schema: schemaReference(folder),
  };
  if (template.input === template.output) throw usageError('--input and --output must be different places');
  if (options.force !== true) await refuseExisting([fdl, script]);
  await mkdir(folder, { recursive: true });
  await writeNew(script, scriptText(language), 0o755, options.force === true);
  await writeNew(
    fdl,
    fdlText(template, (text) => stringify(text).trimEnd()),
    0o644,
    options.force === true,
  );
  await report(context, { fdl, script }, template);
  return exitCodes.ok;
}

async function askName(context: LocalContext): Promise<string> {
  return await ask(context, 'Name of the service:', {
    missing: usageError('The name of the service is missing.', 'sluice init NAME'),
    problemOf: (text) => (namePattern.test(text) ? undefined : `It ${nameRule}.`),
  });
}

function languageOf(text: string): Language {
  const found = languages.find((language) => language === text);
  if (found === undefined) throw usageError(`--lang must be ${languages.join(', ')}; "${text}" is not`);
  return found;
}

function textOption(value: string | undefined, name: string): string | undefined {
  if (value !== undefined && (value.trim() === '' || /[\r\n]/.test(value)))
    throw usageError(`${name} must be one line of text`);
  return value;
}

/** @throws CliError unless the text is a bucket with a folder or without */
function pathOption(value: string | undefined, name: string): string | undefined {
  const text = textOption(value, name)?.replaceAll(/^[\s/]+|[\s/]+$/g, '');
  if (text === undefined) return undefined;
  const bucket = text.split('/', 1)[0] ?? '';
  if (!/^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/.test(bucket)) {
    throw usageError(
      `${name} has to begin with a bucket: 3 to 63 lower-case letters, digits, dots and hyphens; "${bucket}" is not`,
    );
  }
  return text;
}

/** From within the checkout a relative path, which goes along with the files; from elsewhere a URL. */
function schemaReference(folder: string): string {
  const checkout = checkoutFolder();
  const schema = path.join(checkout, 'docs/fdl.schema.json');
  const isInside =
    !path.relative(checkout, folder).startsWith('..') && !path.isAbsolute(path.relative(checkout, folder));
  return isInside ? path.relative(folder, schema).split(path.sep).join('/') : pathToFileURL(schema).href;
}

async function refuseExisting(files: readonly string[]): Promise<void> {
  for (const file of files) {
    const exists = await access(file).then(
      () => true,
      () => false,
    );
    if (exists) throw existsError(file);
  }
}

function existsError(file: string): CliError {
  return usageError(`${file} is there already.`, '--force overwrites it; another name or --dir keeps it.');
}

/** Whole or not at all; over a file that is there only where that is wanted. */
async function writeNew(file: string, text: string, mode: number, overwrite: boolean): Promise<void> {
  try {
    if (!overwrite) {
      await writeFile(file, text, { mode, flag: 'wx' });
      return;
    }
    const part = `${file}.${process.pid}.part`;
    try {
      await writeFile(part, text, { mode });
      await rename(part, file);
    } catch (error) {
      await rm(part, { force: true });
      throw error;
    }
  } catch (error) {
    if (systemCode(error) === 'EEXIST') throw existsError(file);
    throw new CliError(exitCodes.failed, `${file} cannot be written: ${messageOf(error)}.`, { cause: error });
  }
}

async function report(
  context: LocalContext,
  files: { readonly fdl: string; readonly script: string },
  template: { readonly name: string; readonly input: string; readonly output: string },
): Promise<void> {
  if (context.json !== undefined) {
    await context.json.document({ ...files, name: template.name });
    return;
  }
  const fdl = shellWord(path.relative(context.cwd, files.fdl) || files.fdl);
  const script = path.relative(context.cwd, files.script);
  await context.io.out(`Wrote ${path.relative(context.cwd, files.fdl)} and ${script}. Next:

  sluice plan ${fdl}
  sluice apply ${fdl}
  sluice file put --wait FILE ${template.input}/
  sluice file get ${template.output}/ results/
`);
}

function shellWord(text: string): string {
  return /^[\w./-]+$/.test(text) ? text : `'${text.replaceAll("'", String.raw`'\''`)}'`;
}
