import { createHash } from 'node:crypto';

const style = `
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { max-width: 42rem; margin: 3rem auto; padding: 0 1rem; }
code, pre { font-family: ui-monospace, monospace; }
pre { padding: 1rem; border: 1px solid; border-radius: 4px; overflow: auto; }
small { opacity: .7; }
`;

const policy = [
  "default-src 'none'",
  `style-src 'sha256-${createHash('sha256').update(style).digest('base64')}'`,
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ');

/** The first page: it says nothing that somebody without a login may not know. */
export function homePage(version: string): { readonly html: string; readonly policy: string } {
  return { html: page(version), policy };
}

function page(version: string): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Sluice</title>
<style>${style}</style>
</head>
<body>
<h1>Sluice <small>${version}</small></h1>
<p>Turns files into results. A <em>service</em> is a script, an input path and an output path: each file that lands in the
input becomes one run, and what the run writes lands in the output. It speaks the wire of OSCAR.</p>
<ul>
<li><a href="docs">The API to read and try</a>, and as <a href="openapi.json">OpenAPI 3.1</a></li>
<li><a href="health">Health</a></li>
<li><a href="metrics">Metrics for Prometheus</a> (with the administrator's login)</li>
</ul>
<p>Next, in a terminal on this machine:</p>
<pre>npx sluice init NAME             # write NAME.yaml and NAME.sh
npx sluice apply NAME.yaml       # create or change the service
npx sluice file put F NAME/in/   # give it a file
npx sluice call NAME F           # or have the answer at once
npx sluice run list              # what became of it
npx sluice status                # what is there and what it does</pre>
</body>
</html>
`;
}
