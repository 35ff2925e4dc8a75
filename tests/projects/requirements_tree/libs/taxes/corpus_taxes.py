def with_tax(price: int) -> int:
    return price * 12 // 10
