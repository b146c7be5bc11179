export * from './attempt.ts';
export * from './catalogue.ts';
export * from './identity.ts';
export * from './messages.ts';
export * from './quantity.ts';
export * from './run.ts';
export * from './service.ts';
export * from './subject.ts';
