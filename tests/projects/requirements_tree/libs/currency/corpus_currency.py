SIGN = "€"
