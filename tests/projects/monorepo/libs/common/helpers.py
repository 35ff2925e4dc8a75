def prefix() -> str:
    return "COMMON"
