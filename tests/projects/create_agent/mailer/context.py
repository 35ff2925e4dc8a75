from dataclasses import dataclass


@dataclass
class Sender:
    name: str = "nobody"
    signature: str = "--"
