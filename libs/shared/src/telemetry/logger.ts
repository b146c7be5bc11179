import pino from 'pino';

export type Logger = pino.Logger;

export type LogLevel = 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal' | 'silent';

/**
 * A JSON logger. Messages are static, values are fields; secrets never are fields (they are `Secret`, which prints as `[redacted]`).
 * @param destination a file descriptor or a stream; default is standard output
 */
export function createLogger(options: {
  name: string;
  level: LogLevel;
  destination?: pino.DestinationStream | undefined;
}): Logger {
  const settings: pino.LoggerOptions = {
    name: options.name,
    level: options.level,
    base: { name: options.name },
    timestamp: pino.stdTimeFunctions.isoTime,
    serializers: { err: pino.stdSerializers.err },
    // Belt and braces behind `Secret`: what a request or a definition could carry under a well-known name.
    redact: {
      paths: [
        '*.authorization',
        '*.password',
        '*.token',
        '*.secret_key',
        'authorization',
        'password',
        'token',
      ],
      censor: '[redacted]',
    },
  };
  return options.destination === undefined ? pino(settings) : pino(settings, options.destination);
}

/** A logger that says nothing, for tests. */
export function silentLogger(): Logger {
  return pino({ level: 'silent' });
}
