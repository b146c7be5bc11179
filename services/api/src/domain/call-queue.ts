/** What stands in a queue; `turn` grows with the time of arrival. */
export interface Queued {
  readonly turn: number;
}

/** A queue in the order of arrival, which whoever was sent back keeps. */
export interface CallQueue<T extends Queued> {
  /** False where the queue is full. */
  add(item: T): boolean;
  /** Takes an item that was here already, whether there is room or not. */
  putBack(item: T): void;
  first(): T | undefined;
  shift(): T | undefined;
  /** False where it is not in the queue. */
  remove(item: T): boolean;
  /** Empties the queue. */
  takeAll(): readonly T[];
  size(): number;
}

/** @param limit of `add`; at most some thousands: places are found by looking */
export function createCallQueue<T extends Queued>(limit: number): CallQueue<T> {
  const items: T[] = [];
  return {
    add: (item) => {
      if (items.length >= limit) return false;
      items.push(item);
      return true;
    },
    putBack: (item) => {
      const place = items.findIndex((other) => other.turn > item.turn);
      items.splice(place < 0 ? items.length : place, 0, item);
    },
    first: () => items[0],
    shift: () => items.shift(),
    remove: (item) => {
      const place = items.indexOf(item);
      if (place >= 0) items.splice(place, 1);
      return place >= 0;
    },
    takeAll: () => items.splice(0),
    size: () => items.length,
  };
}
