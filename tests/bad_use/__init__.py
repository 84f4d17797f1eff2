"""Bad use: every wrong invocation ends with exit code 2 and one sentence that helps.

``table`` lists them, ``world`` is the folder they run in, ``mishaps`` spoils it, ``play`` runs one,
``document`` prints them all as docs/bad-use.md.
"""
