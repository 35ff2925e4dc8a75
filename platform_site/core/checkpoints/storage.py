"""How much a thread's checkpoints take up, in the form of the contract."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Storage:
    """Bytes as they are stored; `versions` counts the values that a channel had."""

    checkpoints: int = 0
    checkpoint_bytes: int = 0
    versions: dict[str, int] = field(default_factory=dict)
    channel_bytes: dict[str, int] = field(default_factory=dict)
    writes: int = 0
    write_bytes: int = 0

    def wire(self) -> Mapping[str, Any]:
        values = sum(self.channel_bytes.values())
        return {
            "total_bytes": self.checkpoint_bytes + values + self.write_bytes,
            "checkpoints": {"count": self.checkpoints, "bytes": self.checkpoint_bytes},
            "channel_values": {
                "count": sum(self.versions.values()),
                "bytes": values,
                "by_channel": {
                    channel: {"versions": count, "bytes": self.channel_bytes.get(channel, 0)}
                    for channel, count in self.versions.items()
                },
            },
            "pending_writes": {"count": self.writes, "bytes": self.write_bytes},
        }
