import type { Colors } from '../format/colors.ts';
import { oneLine, shorten } from '../format/text.ts';
import type { Change, PlannedBuild, ServicePlan } from './compare.ts';

const maxValue = 60;

/** `~ word-count  script changed, memory 256Mi → 512Mi` */
export function planLine(plan: ServicePlan, width: number, colors: Colors): string {
  const name = oneLine(plan.service).padEnd(width);
  const secrets = plan.sendsSecrets ? ' (secrets are always sent)' : '';
  const build = plan.build === undefined ? [] : [buildText(plan.build)];
  switch (plan.action) {
    case 'create':
      return `${colors.green(`+ ${name}`)} ${['(new)', ...build].join('  ')}`;
    case 'update':
      return `${colors.yellow(`~ ${name}`)}  ${[...build, ...plan.changes.map(changeText)].join(', ')}`;
    default:
      return `${colors.dim(`= ${name}`)} ${[`unchanged${secrets}`, ...build].join('  ')}`;
  }
}

function buildText({ kind, file, target, isCheck }: PlannedBuild): string {
  const what = `build: ${oneLine(kind)} ${oneLine(file)} → image ${oneLine(target)}`;
  return isCheck ? `${what} (again, if its base has changed)` : what;
}

function changeText(change: Change): string {
  const path = oneLine(change.path);
  if (change.path === 'script') {
    return change.from === change.to
      ? 'script changed'
      : `script changed (${change.from ?? ''} → ${change.to ?? ''})`;
  }
  if (change.hidden) return `${path} changed (not shown)`;
  return `${path} ${valueText(change.from)} → ${valueText(change.to)}`;
}

function valueText(value: string | undefined): string {
  if (value === undefined) return '(none)';
  return value === '' ? '""' : shorten(oneLine(value), maxValue);
}
