/** One amount of memory for many clients, of whom nobody can take it from the others by holding on to it. */

/** What one client holds of a budget. */
export interface Share {
  /** Holds so many bytes more, or fewer where negative; may end any share, this one too, to make room. Without effect once ended. */
  change(bytes: number): void;
  /** As `change`, but ends this share where all would be more than twice the total, with what was ended and not given back yet. */
  claim(bytes: number): void;
  /** Gives all of it back, for good: where it was ended to make room, the memory is free only now. */
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
  /** Held by shares that were ended to make room. */
  let leaving = 0;

  function close(share: OpenShare): void {
    share.isOpen = false;
    shares.splice(shares.indexOf(share), 1);
    used -= share.bytes;
  }

  function take(share: OpenShare): void {
    close(share);
    leaving += share.bytes;
    share.onTaken();
  }

  function makeRoom(): void {
    const now = performance.now();
    const weight = ({ bytes, since }: OpenShare) => bytes * (now - since + 1);
    while (used > totalBytes) take(shares.reduce((one, other) => (weight(other) > weight(one) ? other : one)));
  }

  function change(share: OpenShare, bytes: number): void {
    if (!share.isOpen) return;
    if (bytes < 0 || share.bytes === 0) share.since = performance.now();
    share.bytes += bytes;
    used += bytes;
    makeRoom();
  }

  return {
    open(onTaken) {
      const share: OpenShare = { isOpen: true, bytes: 0, since: 0, onTaken };
      shares.push(share);
      return {
        change: (bytes) => change(share, bytes),
        claim(bytes) {
          if (share.isOpen && used + leaving + bytes > 2 * totalBytes) take(share);
          else change(share, bytes);
        },
        end() {
          if (share.isOpen) close(share);
          else leaving -= share.bytes;
          share.bytes = 0;
        },
      };
    },
  };
}
