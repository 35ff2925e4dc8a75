GREETING = "the other project named agent"
