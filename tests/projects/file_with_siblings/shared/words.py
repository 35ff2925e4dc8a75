SUN = "sun"
