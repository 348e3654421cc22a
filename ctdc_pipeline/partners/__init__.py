"""The partners' exports: one module a source, holding its layout as data. ``registry`` lists them; ``reading`` reads them."""
