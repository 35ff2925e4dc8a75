LETTER = "Dear {name}"
