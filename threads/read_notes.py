"""What is noted while states are read with a graph: whether they may be kept, and under which fingerprints."""

from platform_site.core.checkpoints.fingerprints import Fingerprint, Seen
from platform_site.core.serialization.serializer import Losses


class ReadNotes:
    """What is known of states beside what they show, after they were read with one graph."""

    def __init__(self) -> None:
        self.seen = Seen()
        self.losses = Losses()
        # Whether the graph refused one of the states: it and others are shown in another way then.
        self.refused = False

    def fingerprint(self, checkpoint_id: str) -> Fingerprint | None:
        """Return what the state that was just read was made of, or None if another read may show something else."""
        if self.refused or any(True for _ in self.losses):
            return None
        return self.seen.of(checkpoint_id)
