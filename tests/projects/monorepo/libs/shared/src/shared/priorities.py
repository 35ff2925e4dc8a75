def priority_of(text: str) -> str:
    return "high" if "down" in text else "low"
