from shared.words import SUN
from state import Weather


def forecast(state: Weather) -> dict[str, str]:
    return {"forecast": f"{SUN} in {state['city']}"}
