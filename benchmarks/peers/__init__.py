"Other backtesters, each in an environment of its own, told the same rules."
