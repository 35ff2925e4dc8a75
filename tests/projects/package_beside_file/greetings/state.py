from typing_extensions import TypedDict


class Languages(TypedDict, total=False):
    name: str
    greeting: str
