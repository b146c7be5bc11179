// Imported first by every entry: plain JavaScript that an old Node can read, so that it can say what is missing.
const wanted = 24;
const found = Number(process.versions.node.split('.')[0]);
if (found < wanted) {
  const bundled = process.platform === 'linux' && (process.arch === 'x64' || process.arch === 'arm64');
  const hint = bundled
    ? 'Run it through npm ("npm start", "npx sluice"), which uses the Node 24 that "npm ci" installed; if npm left out optional dependencies, run "npm ci --include=optional".'
    : 'Install Node 24 or newer (on macOS: "brew install node@24").';
  process.stderr.write(`Sluice needs Node ${wanted}; this is ${process.versions.node}.\n${hint}\n`);
  process.exit(1);
}
