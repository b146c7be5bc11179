/** The language of a service's first script. */
export const languages = ['sh', 'python', 'node'] as const;
export type Language = (typeof languages)[number];

export interface ServiceTemplate {
  readonly name: string;
  readonly language: Language;
  readonly image: string;
  /** `bucket/folder`. */
  readonly input: string;
  readonly output: string;
  /** Where the JSON Schema of FDL files is, as an editor finds it from the file. */
  readonly schema: string;
}

export const defaultImages: Readonly<Record<Language, string>> = {
  sh: 'alpine:3',
  python: 'python:3-alpine',
  node: 'node:24-alpine',
};

/** @param quote makes YAML of a text, in quotes where it needs them */
export function fdlText(template: ServiceTemplate, quote: (text: string) => string): string {
  const { name, image, input, output, schema } = template;
  return `# yaml-language-server: $schema=${schema}
# Every file that lands in ${input} is one run of ${name}.sh; what the script leaves in TMP_OUTPUT_DIR goes to ${output}.
functions:
  oscar:
    - local: # the cluster: the name of a profile (sluice profile list), or any word
        name: ${quote(name)}
        image: ${quote(image)}
        cpu: '0.2'
        memory: 256Mi
        script: ${quote(`${name}.sh`)}
        input:
          - storage_provider: minio.default
            path: ${quote(input)}
        output:
          - storage_provider: minio.default
            path: ${quote(output)}
`;
}

const head = `#!/bin/sh
# One file in: INPUT_FILE_PATH. Results out: whatever is in TMP_OUTPUT_DIR at the end. What is printed is the run's log.
# An exit code other than 0 makes the run fail.
set -eu
`;

const bodies: Readonly<Record<Language, string>> = {
  sh: `
name=$(basename "$INPUT_FILE_PATH")
result=$TMP_OUTPUT_DIR/\${name%.*}-report.txt
{
  echo "file: $name"
  echo "bytes: $(($(wc -c <"$INPUT_FILE_PATH")))"
  echo "lines: $(($(wc -l <"$INPUT_FILE_PATH")))"
} >"$result"
cat "$result"
`,
  python: `
# The platform runs /bin/sh; Python takes over from here.
exec python3 - <<'PYTHON'
import os
from pathlib import Path

source = Path(os.environ["INPUT_FILE_PATH"])
content = source.read_bytes()
report = f"file: {source.name}\\nbytes: {len(content)}\\nlines: {content.count(10)}\\n"
(Path(os.environ["TMP_OUTPUT_DIR"]) / f"{source.stem}-report.txt").write_text(report)
print(report, end="")
PYTHON
`,
  node: `
# The platform runs /bin/sh; Node takes over from here.
exec node --input-type=module - <<'NODE'
import { readFile, writeFile } from 'node:fs/promises';
import { join, parse } from 'node:path';

const { base, name } = parse(process.env.INPUT_FILE_PATH);
const content = await readFile(process.env.INPUT_FILE_PATH);
const lines = content.reduce((count, byte) => count + (byte === 10 ? 1 : 0), 0);
const report = \`file: \${base}\\nbytes: \${content.length}\\nlines: \${lines}\\n\`;
await writeFile(join(process.env.TMP_OUTPUT_DIR, \`\${name}-report.txt\`), report);
process.stdout.write(report);
NODE
`,
};

export function scriptText(language: Language): string {
  return head + bodies[language];
}
