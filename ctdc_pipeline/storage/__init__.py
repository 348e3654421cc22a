"""How and where bytes are kept: zones, files, formats, encryption, secrets and signatures."""
