"""What the node tells its neighbours: the log of changed prefixes, cut into epochs. Imports ccp and
neighbour.

Each prefix is in the log once, with its newest change: superseded ones are never sent. An epoch is
a set of changes of up to 30 kB, so one or more whole epochs fill an update. Who was told of a
prefix is kept as a mask of bits, one for each neighbour; a prefix that has gone stays in the log
until everybody who was told of it has been told that it is gone. So the log has no more entries
than there are routes and people who may still believe in others.
"""

from collections.abc import Iterator

from fastilp.control.neighbour import Learned

# Half of what a packet can hold; Interledger.rs' readers stop at 40,000 bytes.
SET_SIZE_MAX = 30_000
# Changes of a set, superseded ones among them: prefixes that flap take no bytes, but room.
_SET_CHANGES_MAX = 1_000
# Sets that are so new that neighbours are likely to stand between them.
_NEW_SETS = 64


class Entry:
    """A prefix: what we know of it, best first, and who was told."""

    __slots__ = (
        "candidates",
        "change_set",
        "covers",
        "index",
        "prefix",
        "size",
        "told",
        "winner",
    )

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.candidates: tuple[Learned, ...] = ()
        self.winner: Learned | None = None
        """What neighbours are told; None: that there is nothing."""
        self.covers: tuple[str, ...] = ()
        """Shorter prefixes whose connector is on the way to this one: whoever knows one of those
        need not know this."""
        self.told = 0
        """Bits of the neighbours who were told of it."""
        self.change_set: ChangeSet | None = None
        self.index = 0
        self.size = 0


class ChangeSet:
    """Changes of one epoch, or of several that were merged; `epoch` is the last of them."""

    __slots__ = ("count", "entries", "epoch", "size")

    def __init__(self) -> None:
        self.epoch = 0
        self.entries: list[Entry | None] = []
        self.count = 0
        self.size = 0


class Log:
    """`epoch` is that of the newest sealed set; 0 before the first."""

    def __init__(self) -> None:
        self.epoch = 0
        self._open = ChangeSet()
        # By epoch.
        self._sets: list[ChangeSet] = []
        self._merge_at = 0

    def __len__(self) -> int:
        """Prefixes in it."""
        return sum(each.count for each in self._sets) + self._open.count

    def set_count(self) -> int:
        return len(self._sets)

    def add(self, entry: Entry, size: int) -> None:
        """A prefix has changed; `size`: bytes that it takes in an update."""
        self.remove(entry)
        is_long = len(self._open.entries) >= _SET_CHANGES_MAX
        if is_long or self._open.size + size > SET_SIZE_MAX:
            self.seal()
        current = self._open
        entry.change_set, entry.index, entry.size = current, len(current.entries), size
        current.entries.append(entry)
        current.count += 1
        current.size += size

    def remove(self, entry: Entry) -> None:
        """It is no longer in the log; no error if it was not."""
        change_set = entry.change_set
        if change_set is not None:
            change_set.entries[entry.index] = None
            change_set.count -= 1
            change_set.size -= entry.size
            entry.change_set = None

    def is_dirty(self) -> bool:
        """Whether there are changes that belong to no epoch yet."""
        return bool(self._open.entries)

    def seal(self) -> int:
        """What has changed is an epoch from now on. Returns the newest epoch."""
        if self._open.entries:
            self.epoch += 1
            self._open.epoch = self.epoch
            self._sets.append(self._open)
            self._open = ChangeSet()
            self._merge_some()
        return self.epoch

    def after(self, epoch: int) -> Iterator[ChangeSet]:
        """The sealed sets that somebody who knows `epoch` does not know, oldest first. A set may
        begin before that epoch: routes may be told twice."""
        low, high = 0, len(self._sets)
        while low < high:
            middle = (low + high) // 2
            if self._sets[middle].epoch <= epoch:
                low = middle + 1
            else:
                high = middle
        for index in range(low, len(self._sets)):
            yield self._sets[index]

    def _merge_some(self) -> None:
        """One pair of neighbouring old sets, where they fit together: each new set pays for it."""
        if len(self._sets) <= _NEW_SETS:
            return
        self._merge_at = (self._merge_at + 1) % (len(self._sets) - _NEW_SETS)
        for at in (self._merge_at, 0):
            if at + 1 < len(self._sets) - _NEW_SETS and self._fit(at):
                self._merge(at)

    def _fit(self, at: int) -> bool:
        return self._sets[at].size + self._sets[at + 1].size <= SET_SIZE_MAX

    def _merge(self, at: int) -> None:
        first, second = self._sets[at : at + 2]
        merged: list[Entry | None] = []
        for entry in first.entries + second.entries:
            if entry is not None:
                entry.change_set, entry.index = second, len(merged)
                merged.append(entry)
        second.entries, second.count = merged, len(merged)
        second.size += first.size
        del self._sets[at]
