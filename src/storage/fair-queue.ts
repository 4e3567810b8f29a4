/**
 * A queue in which no client's waiting can shut others out: clients have their turns one after the other (round robin), each with what
 * it has waited with longest, and where there is no more room the one that waits with the most gives way.
 */
export interface FairQueue<Item> {
  /**
   * Takes an item in. Returns what has to go for it where the queue is full: the newest item of the client with the most of them, which
   * is the given one unless another client has more; undefined where there was room.
   */
  add(item: Item, client: string): Item | undefined;
  /** Takes out what is next; undefined where nothing waits. */
  next(): Item | undefined;
  /** Takes an item out before its turn; false where it is not here any more. */
  remove(item: Item): boolean;
  /** How many items wait. */
  size(): number;
}

/** `capacity`: most items that wait, at least 1. */
export function createFairQueue<Item>(capacity: number): FairQueue<Item> {
  /** Oldest first, by client; the client whose turn is next comes first. No list is empty. */
  const waiting = new Map<string, Item[]>();
  let size = 0;

  function take(client: string, items: Item[], index: number): Item | undefined {
    const [item] = items.splice(index, 1);
    if (items.length === 0) waiting.delete(client);
    size -= 1;
    return item;
  }

  function dropFor(client: string): Item | undefined {
    let most: [string, Item[]] = [client, waiting.get(client) ?? []];
    for (const entry of waiting) if (entry[1].length > most[1].length) most = entry;
    return take(...most, most[1].length - 1);
  }

  return {
    add(item, client) {
      const items = waiting.get(client);
      if (items === undefined) waiting.set(client, [item]);
      else items.push(item);
      size += 1;
      return size > capacity ? dropFor(client) : undefined;
    },
    next() {
      for (const [client, items] of waiting) {
        const item = take(client, items, 0);
        // Behind all others, if it still waits with something.
        if (waiting.delete(client)) waiting.set(client, items);
        return item;
      }
      return undefined;
    },
    remove(item) {
      for (const [client, items] of waiting) {
        const index = items.indexOf(item);
        if (index === -1) continue;
        take(client, items, index);
        return true;
      }
      return false;
    },
    size: () => size,
  };
}
