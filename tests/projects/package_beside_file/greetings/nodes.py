import os

from .state import Languages


def greet(state: Languages) -> Languages:
    word = {"de": "Hallo", "en": "Hello"}[os.environ["LANGUAGE_OF_GREETINGS"]]
    words = [word, state["name"], "again"][: int(os.environ["MOST_WORDS"])]
    text = " ".join(words)
    if os.environ["SHOUT"] == "true":
        text = text.upper()
    return {"greeting": text + os.environ.get("NOT_SET", "!")}
