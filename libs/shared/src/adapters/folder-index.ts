/** What a folder can't hold of an object. Absent records mean: type by extension, no metadata. */
export interface ObjectRecord {
  readonly contentType?: string;
  readonly metadata: Readonly<Record<string, string>>;
}

/** One state of one object. */
export interface ObjectStateRef {
  readonly bucket: string;
  readonly key: string;
  readonly identity: string;
}

/**
 * Where the folder store keeps what files don't have: content type, user metadata, bucket tags. Writes resolve when they
 * are durable. Records belong to one state of an object, so that a file which is replaced by hand loses them.
 */
export interface ObjectIndex {
  get(ref: ObjectStateRef): Promise<ObjectRecord | undefined>;
  /** Stores a record; others of the key go, except that of the state `current`, which is still visible. */
  put(ref: ObjectStateRef, record: ObjectRecord, current: string | undefined): Promise<void>;
  /** Drops all records of a key; costs no write where there are none. */
  removeKey(bucket: string, key: string): Promise<void>;
  removeState(ref: ObjectStateRef): Promise<void>;
  /** Records of a bucket; its tags stay. */
  removeBucket(bucket: string): Promise<void>;
  /** States with a record, in a fixed order, those behind `after`. */
  list(after: ObjectStateRef | undefined, limit: number): Promise<readonly ObjectStateRef[]>;
  /** Undefined for a bucket that never had any. */
  tags(bucket: string): Promise<Readonly<Record<string, string>> | undefined>;
  /** Undefined removes them. */
  setTags(bucket: string, tags: Readonly<Record<string, string>> | undefined): Promise<void>;
}
