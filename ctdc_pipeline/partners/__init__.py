"""Partners' exports: one TOML file a source describes its layouts.

``registry`` lists the sources, ``reading`` reads their files.
"""
