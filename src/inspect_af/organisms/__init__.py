"""Models whose motivation is known by construction, so that a method can be checked against them."""
