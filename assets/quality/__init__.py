"""How much the synthetic records keep of the sensitive ones, and what the data covers."""
