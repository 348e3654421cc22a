"""What a release gives to the public besides its proof: one module a product, each a function of ``inputs.Inputs``."""
