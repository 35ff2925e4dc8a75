from langchain_core.tools import tool
from tabulate import tabulate


@tool
def prices(item: str) -> str:
    """The prices of an item."""
    return tabulate([[item, 3]], tablefmt="plain")


tools = [prices]
