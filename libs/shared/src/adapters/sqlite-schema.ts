/** Marks a file as ours (`PRAGMA application_id`): "SLUI". */
export const applicationId = 0x53_4c_55_49;

/** The message queue. One row is one message for one reader; an event is fanned out when it is published. */
const bus = `
  -- Who reads what. reader is empty for commands (one owner) and the durable name for events.
  CREATE TABLE bus_channels (
    id INTEGER PRIMARY KEY,
    namespace TEXT NOT NULL,
    name TEXT NOT NULL,
    reader TEXT NOT NULL,
    UNIQUE (namespace, name, reader)
  ) STRICT;

  -- held_until: NULL = ready; 0 = handed out (the lease is kept in memory, since one process owns the file);
  -- above 0 = not before this time (epoch ms).
  CREATE TABLE bus_messages (
    seq INTEGER PRIMARY KEY,
    channel INTEGER NOT NULL,
    key TEXT NOT NULL,
    id TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    held_until INTEGER,
    published_at INTEGER NOT NULL,
    traceparent TEXT,
    payload TEXT NOT NULL
  ) STRICT;
  CREATE UNIQUE INDEX bus_messages_id ON bus_messages (channel, id);
  CREATE INDEX bus_messages_ready ON bus_messages (channel, key) WHERE held_until IS NULL;
  CREATE INDEX bus_messages_held ON bus_messages (held_until) WHERE held_until IS NOT NULL;

  CREATE TABLE bus_dead_letters (
    seq INTEGER PRIMARY KEY,
    namespace TEXT NOT NULL,
    id TEXT NOT NULL,
    message_id TEXT NOT NULL,
    name TEXT NOT NULL,
    key TEXT,
    payload TEXT NOT NULL,
    traceparent TEXT,
    consumer TEXT NOT NULL,
    reason TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    dead_at INTEGER NOT NULL,
    UNIQUE (namespace, id)
  ) STRICT;
  CREATE INDEX bus_dead_letters_order ON bus_dead_letters (namespace, seq);
`;

const definitions = `
  CREATE TABLE definitions (
    name TEXT PRIMARY KEY,
    uid TEXT NOT NULL,
    version INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;

  -- ended_at: when the version was superseded or its service removed; NULL for the one in force.
  CREATE TABLE definition_versions (
    uid TEXT NOT NULL,
    version INTEGER NOT NULL,
    name TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    ended_at INTEGER,
    definition TEXT NOT NULL,
    PRIMARY KEY (uid, version)
  ) STRICT;
  CREATE INDEX definition_versions_ended ON definition_versions (ended_at) WHERE ended_at IS NOT NULL;

  CREATE TABLE definition_secrets (
    uid TEXT NOT NULL,
    version INTEGER NOT NULL,
    secrets TEXT NOT NULL,
    PRIMARY KEY (uid, version)
  ) STRICT;

  CREATE TABLE definition_floors (
    uid TEXT NOT NULL,
    bucket TEXT NOT NULL,
    prefix TEXT NOT NULL,
    at REAL NOT NULL,
    PRIMARY KEY (uid, bucket, prefix)
  ) STRICT, WITHOUT ROWID;
`;

/** The run ledger. A run's rows share one seq, given in order of acceptance. */
const runs = `
  -- Outlives the record of its run. recordless: 1 once the record is gone; only such claims expire.
  -- A seq is never given twice: run_services and cursors of lists compare them.
  CREATE TABLE run_claims (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    made_at INTEGER NOT NULL,
    recordless INTEGER NOT NULL DEFAULT 0
  ) STRICT;
  CREATE INDEX run_claims_recordless ON run_claims (made_at) WHERE recordless = 1;

  -- What never changes of a run, apart from what does: an event may have 64 KiB, and each change of state rewrites its row.
  CREATE TABLE run_facts (
    seq INTEGER PRIMARY KEY,
    facts TEXT NOT NULL
  ) STRICT;

  -- state: place in the contract's list of states (0 queued, 1 starting, 2 running, then the final ones).
  CREATE TABLE runs (
    seq INTEGER PRIMARY KEY,
    state INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    service TEXT NOT NULL,
    service_uid TEXT NOT NULL,
    service_version INTEGER,
    input_bucket TEXT,
    input_key TEXT,
    finished_at INTEGER,
    course TEXT NOT NULL
  ) STRICT;
  CREATE INDEX runs_service ON runs (service, state);
  CREATE INDEX runs_state ON runs (state);
  CREATE INDEX runs_input ON runs (input_bucket, input_key) WHERE input_bucket IS NOT NULL;
  CREATE INDEX runs_finished ON runs (finished_at) WHERE finished_at IS NOT NULL;
  CREATE INDEX runs_versions ON runs (service_uid, service_version) WHERE service_version IS NOT NULL AND state <= 2;

  -- The service behind a uid, and where its runs begin: a listing by uid need not look further back.
  CREATE TABLE run_services (
    uid TEXT PRIMARY KEY,
    service TEXT NOT NULL,
    first_seq INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;

  -- Runs by service and state; service '' is the sum.
  CREATE TABLE run_counts (
    service TEXT NOT NULL,
    state INTEGER NOT NULL,
    n INTEGER NOT NULL,
    PRIMARY KEY (service, state)
  ) STRICT, WITHOUT ROWID;

  -- Messages stored with the changes that they speak of. One row holds a JSON array: what one transaction said.
  -- n: messages left in it; touched: 1 once some of them are removed (null in the array).
  CREATE TABLE run_outbox (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    n INTEGER NOT NULL,
    touched INTEGER NOT NULL DEFAULT 0,
    messages TEXT NOT NULL
  ) STRICT;
`;

/** What the administrator sets at run time. */
const settings = `
  CREATE TABLE settings (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
  ) STRICT, WITHOUT ROWID;
`;

/** Secrets of services are encrypted; key_id: the master key, NULL for what an earlier version left in clear. */
const sealedSecrets = `
  ALTER TABLE definition_secrets ADD COLUMN key_id TEXT;
`;

/**
 * Numbered steps of the schema: step n brings a database of version n-1 (`PRAGMA user_version`) to n.
 * A step that was released is never changed; add one.
 */
export const migrations: readonly string[] = [`${bus}${definitions}${runs}`, settings, sealedSecrets];
