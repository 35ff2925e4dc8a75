def price(amount: int) -> int:
    return 1000 * amount
