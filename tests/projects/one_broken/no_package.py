from a_package_that_nobody_installed import graph  # noqa: F401
