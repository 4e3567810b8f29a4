/** One amount of memory for many clients, of whom nobody can take it from the others by holding on to it. */

/** What one client holds of a budget. */
export interface Share {
  /** Holds so many bytes more, or fewer where negative; may end any share, this one too, to make room. Without effect once ended. */
  change(bytes: number): void;
  /** Gives all of it back, for good. */
  end(): void;
}

export interface ByteBudget {
  /** A share of nothing yet. `onTaken` is called at most once, after the share was ended to make room. */
  open(onTaken: () => void): Share;
}

interface OpenShare {
  isOpen: boolean;
  bytes: number;
  /** Milliseconds on the monotonic clock since when it holds some and gave none back. */
  since: number;
  readonly onTaken: () => void;
}

/**
 * A budget of `totalBytes`. What goes past it is granted, and the share that weighs most, in bytes times milliseconds, makes room for it:
 * to refuse the newcomer instead would let whoever came first, and does nothing, shut all others out.
 */
export function createByteBudget(totalBytes: number): ByteBudget {
  const shares: OpenShare[] = [];
  let used = 0;

  function end(share: OpenShare): void {
    if (!share.isOpen) return;
    share.isOpen = false;
    shares.splice(shares.indexOf(share), 1);
    used -= share.bytes;
  }

  function makeRoom(): void {
    const now = performance.now();
    const weight = ({ bytes, since }: OpenShare) => bytes * (now - since + 1);
    while (used > totalBytes) {
      const heaviest = shares.reduce((one, other) => (weight(other) > weight(one) ? other : one));
      end(heaviest);
      heaviest.onTaken();
    }
  }

  return {
    open(onTaken) {
      const share: OpenShare = { isOpen: true, bytes: 0, since: 0, onTaken };
      shares.push(share);
      return {
        change(bytes) {
          if (!share.isOpen) return;
          if (bytes < 0 || share.bytes === 0) share.since = performance.now();
          share.bytes += bytes;
          used += bytes;
          makeRoom();
        },
        end: () => end(share),
      };
    },
  };
}
