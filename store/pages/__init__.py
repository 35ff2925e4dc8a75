"""HTML pages of the store: views, and what they read for people. A roof: it may use any service or selector."""
