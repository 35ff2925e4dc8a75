from typing import TypedDict


class Weather(TypedDict):
    city: str
    forecast: str
